"""Ingestion: every format, every reason for quarantine, and the books always balance."""

import datetime as dt
import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divisions.errors import EmptyInputError, InputError, MissingColumnError
from divisions.pipeline.definition import Features
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from trainers.data.ingest import read_events

DAY = dt.datetime(2025, 1, 14, tzinfo=dt.UTC)
HEADER = "customer_id,event_time,plan,minutes,churn"


def read(path, label="churn", **features):
    return read_events(str(path), s3=S3Settings(), allow_buckets=(), features=Features(**features), label=label)


def good_lines(count, start=0):
    return [
        f"c-{i},2025-01-14T00:00:{i:02d}Z,basic,{i}.5,{'yes' if i % 2 else 'no'}" for i in range(start, start + count)
    ]


def good_records(count):
    keys = HEADER.split(",")
    records = [dict(zip(keys, line.split(","), strict=True)) for line in good_lines(count)]
    return [record | {"minutes": float(record["minutes"])} for record in records]


def write_csv(path, lines):
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def write_parquet(path, records):
    frame = pd.DataFrame(records)
    frame["event_time"] = pd.to_datetime(frame["event_time"])
    frame.to_parquet(path)
    return path


def write_jsonl(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_all_formats_give_the_same_events(tmp_path):
    inputs = [
        write_csv(tmp_path / "a.csv", good_lines(8)),
        write_parquet(tmp_path / "a.parquet", good_records(8)),
        write_jsonl(tmp_path / "a.jsonl", good_records(8)),
    ]
    csv, *others = [read(path) for path in inputs]
    assert csv.num_read == 8
    assert csv.kinds == {"plan": FeatureKind.CATEGORICAL, "minutes": FeatureKind.NUMERIC}
    assert csv.frame["event_time"].tolist()[3] == pd.Timestamp(DAY) + pd.Timedelta(seconds=3)
    assert csv.frame["churn"].tolist() == [0, 1] * 4
    for other in others:
        pd.testing.assert_frame_equal(csv.frame, other.frame)
        assert other.kinds == csv.kinds


def test_a_folder_may_mix_formats_and_compression(tmp_path):
    write_csv(tmp_path / "a.csv", good_lines(2))
    write_parquet(tmp_path / "b.parquet", good_records(8)[2:5])
    write_jsonl(tmp_path / "c.jsonl", good_records(8)[5:7])
    text = "\n".join([HEADER, *good_lines(1, start=7)])
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "notes.txt").write_text("not data")
    events = read(tmp_path)
    assert events.frame["customer_id"].tolist() == [f"c-{i}" for i in range(8)]
    assert events.frame["minutes"].tolist() == [i + 0.5 for i in range(8)]
    assert events.notes == (f"skipped 1 files of other formats: {tmp_path}/notes.txt",)


BAD_LINES = {
    "c-90,2025-01-14": "unparsable line",
    ",2025-01-14,basic,1,yes": "null customer_id",
    "c-91,yesterday,basic,1,yes": "unreadable event_time",
    "c-92,,basic,1,yes": "unreadable event_time",
    "c-94,2025-01-14,basic,1,perhaps": "unknown churn",
    "c-5,2025-01-14T00:00:05Z,gold,7,yes": "duplicate event",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items())
def test_a_bad_csv_line_is_quarantined_with_its_reason_and_record(tmp_path, line, reason):
    path = write_csv(tmp_path / "a.csv", [*good_lines(40), line])
    events = read(path)
    assert events.reasons == {reason: 1}
    assert (len(events.frame), events.num_read) == (40, 41)
    row = events.quarantine.iloc[0]
    assert (row["source"], row["row"]) == (str(path), 42)
    assert line.split(",")[0] in row["raw"]


BAD_RECORDS = {
    '{"customer_id": "c-90", ': "unparsable line",
    "[1, 2]": "unparsable line",
    '{"customer_id": NaN}': "unparsable line",
    "[" * 5_000: "unparsable line",
    '{"event_time": "2025-01-14", "churn": true}': "null customer_id",
    '{"customer_id": ["c"], "event_time": "2025-01-14", "churn": true}': "null customer_id",
    '{"customer_id": "c", "event_time": {}, "churn": true}': "unreadable event_time",
    '{"customer_id": "c", "event_time": 1' + "0" * 300 + ', "churn": true}': "unreadable event_time",
    '{"customer_id": "c", "event_time": true, "churn": true}': "unreadable event_time",
    '{"customer_id": "c", "event_time": 2025, "churn": true}': "unreadable event_time",
    '{"customer_id": "c", "event_time": "2025-01-14", "churn": 2}': "unknown churn",
    '{"customer_id": "c", "event_time": "2025-01-14", "churn": [1]}': "unknown churn",
}


@pytest.mark.parametrize(("line", "reason"), BAD_RECORDS.items(), ids=lambda text: text[:60])
def test_a_bad_json_line_is_quarantined_with_its_reason(tmp_path, line, reason):
    path = write_jsonl(tmp_path / "a.jsonl", good_records(40))
    path.write_text(path.read_text() + "\n" + line + "\n")
    events = read(path)
    assert events.reasons == {reason: 1}
    assert events.num_read == 41
    assert events.quarantine["row"].tolist() == [41]
    assert events.kinds["minutes"] is FeatureKind.NUMERIC


@pytest.mark.parametrize("value", ["many", "1e39", "inf"])
def test_a_bad_value_in_csv_costs_the_value_and_not_the_customer(tmp_path, value):
    lines = [*good_lines(40), f"c-95,2025-01-14T01:00:00Z,basic,{value},yes"]
    events = read(write_csv(tmp_path / "a.csv", lines))
    assert (len(events.frame), events.num_quarantined) == (41, 0)
    assert events.kinds["minutes"] is FeatureKind.NUMERIC
    assert np.isnan(events.frame.set_index("customer_id")["minutes"]["c-95"])
    assert events.notes == ("column 'minutes': 1 of 41 values are not numeric and count as missing",)


@pytest.mark.parametrize("value", ['"x"', "true", "[1]", "1" + "0" * 300])
def test_a_bad_value_in_json_costs_the_value_and_not_the_customer(tmp_path, value):
    path = write_jsonl(tmp_path / "a.jsonl", good_records(40))
    line = '{"customer_id": "c", "event_time": "2025-01-14", "churn": 1, "plan": {"a": 1}, "minutes": ' + value + "}"
    path.write_text(path.read_text() + "\n" + line + "\n")
    events = read(path)
    row = events.frame.set_index("customer_id").loc["c"]
    assert np.isnan(row["minutes"])
    assert row["plan"] is None
    assert events.notes == (
        "column 'plan': 1 of 41 values are not categorical and count as missing",
        "column 'minutes': 1 of 41 values are not numeric and count as missing",
    )


def test_a_line_that_is_neither_utf8_nor_complete_is_quarantined(tmp_path):
    path = write_csv(tmp_path / "a.csv", good_lines(9))
    path.write_bytes(path.read_bytes() + b"c-9,2025-01-14,\xff\xfe\nc-10,2025-01-14\n")
    events = read(path)
    assert events.num_read == len(events.frame) + events.num_quarantined == 11
    assert events.quarantine["raw"].tolist() == ["c-9,2025-01-14,\ufffd\ufffd", "c-10,2025-01-14"]


def test_rows_that_contradict_each_other_are_both_quarantined(tmp_path):
    lines = [*good_lines(20), "c-5,2025-01-14T00:00:05Z,gold,7,no"]
    events = read(write_csv(tmp_path / "a.csv", lines))
    assert events.reasons == {"conflicting label": 2}
    assert events.quarantine["row"].tolist() == [7, 22]
    assert "c-5" not in set(events.frame["customer_id"])


def test_bytes_that_are_not_utf8_cost_their_row_only(tmp_path):
    path = write_csv(tmp_path / "a.csv", good_lines(10))
    path.write_bytes(path.read_bytes() + b"c-99,2025-01-14,\xff\xfe,1,yes\n")
    events = read(path)
    assert events.reasons == {"unparsable line": 1}
    assert "'plan' is not UTF-8" in events.quarantine["detail"].item()


def test_each_line_inside_an_unclosed_quote_counts_as_bad(tmp_path):
    lines = good_lines(20)
    lines.insert(15, 'c-99,2025-01-14,"open,1,yes')
    events = read(write_csv(tmp_path / "a.csv", lines))
    assert len(events.frame) == 15
    assert events.reasons["unparsable line"] >= 6


def test_nulls_in_parquet_are_quarantined_or_missing(tmp_path):
    records = good_records(10)
    records[3]["minutes"] = None
    records[4]["customer_id"] = None
    records[5]["churn"] = None
    events = read(write_parquet(tmp_path / "a.parquet", records))
    assert events.reasons == {"null customer_id": 1}
    assert (len(events.frame), events.num_newest) == (8, 9)
    assert np.isnan(events.frame.set_index("customer_id")["minutes"]["c-3"])


@pytest.mark.parametrize("values", [[True, False], [1, 0], ["Yes", "NO"], ["TRUE", "false"], [1.0, 0.0], ["1", "0"]])
def test_every_spelling_of_a_label_is_read(tmp_path, values):
    records = [record | {"churn": values[i % 2]} for i, record in enumerate(good_records(6))]
    assert read(write_jsonl(tmp_path / "a.jsonl", records)).frame["churn"].tolist() == [1, 0] * 3
    assert read(write_parquet(tmp_path / "a.parquet", records)).frame["churn"].tolist() == [1, 0] * 3


@pytest.mark.parametrize(
    "form",
    [
        *(1736812800, 1736812800.0, "1736812800", 1736812800_000, 1736812800_000_000, 1736812800_000_000_000),
        *("20250114", 20250114, 20250114.0, "2025-01-14", "2025-01-14T01:00:00+01:00"),
        *("2025-01-14 00:00:00 UTC", " 2025-01-14 ", "2025/01/14", "20250114T000000Z"),
    ],
)
def test_every_spelling_of_a_time_is_read(tmp_path, form):
    records = [record | {"event_time": form} for record in good_records(3)]
    times = read(write_jsonl(tmp_path / "a.jsonl", records)).frame["event_time"]
    assert set(times) == {pd.Timestamp(DAY)}
    assert str(times.dtype) == "datetime64[us, UTC]"


def test_large_whole_entities_keep_every_digit(tmp_path):
    frame = pd.DataFrame(good_records(4))
    first = 9_007_199_254_740_993  # the first whole number that a double cannot hold
    frame["customer_id"] = pd.array([first, first + 1, first + 2, None], dtype="Int64")
    frame.to_parquet(tmp_path / "a.parquet")
    events = read(tmp_path / "a.parquet")
    assert events.frame["customer_id"].tolist() == [str(first + i) for i in range(3)]
    assert events.reasons == {"null customer_id": 1}


def test_declared_kinds_overrule_inferred_ones(tmp_path):
    lines = [line.replace("basic", str(400 + i)) for i, line in enumerate(good_lines(5))]
    path = write_csv(tmp_path / "a.csv", lines)
    assert read(path).kinds["plan"] is FeatureKind.NUMERIC
    events = read(path, categorical=("plan",))
    assert events.kinds["plan"] is FeatureKind.CATEGORICAL
    assert events.frame["plan"].tolist() == ["400", "401", "402", "403", "404"]


def test_a_partition_without_the_label_lists_its_columns(tmp_path):
    path = write_csv(tmp_path / "a.csv", good_lines(3))
    with pytest.raises(MissingColumnError) as caught:
        read(path, label="churned")
    assert "lacks the label column 'churned'; it has churn, customer_id" in str(caught.value)
    assert "features.label (nearest: 'churn')" in str(caught.value)
    with pytest.raises(MissingColumnError) as caught:
        read(path, label="zzz")
    assert str(caught.value).endswith("add the column, or set features.label")


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ({"entity": "user_id"}, r"entity column 'user_id'.*features\.entity"),
        ({"event_time": "at"}, r"event time column 'at'.*features\.event_time"),
        ({"numeric": ("minuts",)}, r"declared feature 'minuts'.*nearest: 'minutes'"),
    ],
)
def test_other_missing_columns_are_named_with_the_setting(tmp_path, features, says):
    with pytest.raises(MissingColumnError, match=says):
        read(write_csv(tmp_path / "a.csv", good_lines(3)), **features)


def test_an_empty_partition_is_named(tmp_path):
    folder = tmp_path / "partition=2025-01-15"
    folder.mkdir()
    write_csv(folder / "a.csv", [])
    with pytest.raises(EmptyInputError, match="partition 2025-01-15 holds no rows"):
        read(folder)
    (folder / "a.csv").rename(folder / "a.txt")
    with pytest.raises(EmptyInputError, match=r"no Parquet, CSV or JSON lines files, only a\.txt"):
        read(folder)


def test_an_input_that_is_mostly_bad_is_refused_with_the_reasons(tmp_path):
    lines = [*good_lines(4), *("c-9,yesterday,basic,1,no" for _ in range(5))]
    with pytest.raises(InputError, match=r"5 of 9 rows .* cannot be used: 5 x unreadable event_time"):
        read(write_csv(tmp_path / "a.csv", lines))


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz"])
def test_a_damaged_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match=f"{name} is damaged or not"):
        read(tmp_path)


def test_files_of_different_columns_are_refused(tmp_path):
    write_csv(tmp_path / "a.csv", good_lines(2))
    (tmp_path / "b.csv").write_text("customer_id,event_time,churn\nc-1,2025-01-15,no\n")
    with pytest.raises(InputError, match=r"b\.csv and .*a\.csv have different columns: minutes, plan"):
        read(tmp_path)


def test_the_quarantine_is_written_whole(tmp_path):
    events = read(write_csv(tmp_path / "a.csv", [*good_lines(5), "c-9,2025-01-14,basic,1,perhaps"]))
    path = events.unusable.write(tmp_path / "quarantine" / "run-1")
    assert path is not None
    written = pd.read_parquet(path)
    assert written.columns.tolist() == ["source", "row", "reason", "detail", "raw"]
    assert json.loads(written["raw"][0])["churn"] == "perhaps"
    assert [entry.name for entry in path.parent.iterdir()] == ["quarantine.parquet"]
    assert read(write_csv(tmp_path / "b.csv", good_lines(5))).unusable.write(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


_UNLABELLED = re.compile(r',[\s"]*(NA)?[\s"]*$', re.MULTILINE)
_field = st.one_of(
    st.sampled_from(["c-1", "yes", "no", "", "2025-01-14", "1", "NA"]), st.text("abc,\"'\n\\é", max_size=6)
)


# A line without a label is an event to be served, and no row of the frame.
_line = st.lists(_field, min_size=1, max_size=7).map(",".join).filter(lambda line: not _UNLABELLED.search(line))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(_line, max_size=6))
def test_no_line_is_ever_lost(tmp_path, lines):
    """Whatever stands in a CSV file: rows read = events + quarantine, and good rows before it survive."""
    path = write_csv(tmp_path / "a.csv", [*good_lines(30), *lines])
    events = read(path)
    assert events.num_read == len(events.frame) + events.num_quarantined
    assert {f"c-{i}" for i in range(30)} <= set(events.frame["customer_id"])


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(HEADER.split(","), _json)), max_size=6))
def test_no_record_is_ever_lost(tmp_path, records):
    path = write_jsonl(tmp_path / "a.jsonl", [*good_records(30), *records])
    events = read(path)
    assert events.num_read == 30 + len(records) == len(events.frame) + events.num_quarantined


def test_two_files_are_both_read(tmp_path):
    write_csv(tmp_path / "a.csv", good_lines(4))
    write_csv(tmp_path / "b.csv", good_lines(3, start=10))
    events = read(tmp_path)
    assert events.num_read == len(events.frame) == 7
    assert {"c-0", "c-12"} <= set(events.frame["customer_id"])


def test_a_declared_boolean_is_one(tmp_path):
    path = write_csv(tmp_path / "a.csv", [line.replace("basic", "yes") for line in good_lines(6)])
    assert read(path).kinds["plan"] is FeatureKind.CATEGORICAL
    events = read(path, boolean=("plan",))
    assert events.kinds["plan"] is FeatureKind.BOOLEAN
    assert events.frame["plan"].tolist() == [True] * 6


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (2**63 - 1, float(2**63 - 1)),
        (2**63, float(2**63)),
        (-(2**63), float(-(2**63))),
        (10**38, 1e38),
        (10**39, None),
        (-(10**39), None),
        (10**400, None),
    ],
)
def test_whole_numbers_beyond_64_bits_are_numbers_up_to_float32(tmp_path, value, number):
    records = [{"customer_id": f"c-{i}", "event_time": "2025-01-14", "churn": i % 2, "minutes": i} for i in range(3)]
    records.append({"customer_id": "c-9", "event_time": "2025-01-14", "churn": 1, "minutes": value})
    events = read(write_jsonl(tmp_path / "a.jsonl", records))
    kept = events.frame.set_index("customer_id")["minutes"]["c-9"]
    assert any("values are not numeric" in note for note in events.notes) == (number is None)
    assert np.isnan(kept) if number is None else float(kept) == number
