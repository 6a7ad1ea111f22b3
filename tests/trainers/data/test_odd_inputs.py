"""Oddly written inputs: each gives the right values, or one clear line. None of them passes silently."""

import datetime as dt
import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divisions.errors import InputError
from divisions.pipeline.definition import DataFormat, Features
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from trainers.data.event_times import hint
from trainers.data.ingest import Reading, read_events

NUMERIC, CATEGORICAL = FeatureKind.NUMERIC, FeatureKind.CATEGORICAL
HEADER = "customer_id,event_time,plan,minutes,churn"


def read(path, reading=None, **features):
    return read_events(
        str(path),
        s3=S3Settings(),
        allow_buckets=(),
        features=Features(**features),
        label="churn",
        reading=reading or Reading(),
    )


def csv_text(count=6, plan="basic", separator=","):
    lines = [f"{i},2025-01-14,{plan},{i}.5,{'yes' if i % 2 else 'no'}" for i in range(count)]
    return "\n".join([HEADER, *lines]).replace(",", separator) + "\n"


def records(count=6, **columns):
    return [
        {
            "customer_id": i,
            "event_time": "2025-01-14",
            "churn": i % 2,
            **{name: make(i) for name, make in columns.items()},
        }
        for i in range(count)
    ]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_is_found_in_the_header_and_told(tmp_path, separator):
    (tmp_path / "a.csv").write_text(csv_text(separator=separator))
    events = read(tmp_path)
    assert events.kinds == {"plan": CATEGORICAL, "minutes": NUMERIC}
    assert events.notes == (f"{tmp_path}/a.csv is separated by {separator!r}, not by commas",)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes(csv_text(plan="é").encode(encoding))
    assert set(read(tmp_path).frame["plan"]) == {"é"}


def test_a_declared_encoding_is_used_and_an_undeclared_one_named(tmp_path):
    text = csv_text(plan="é").replace("minutes", "minutés")
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(InputError, match=r"header of .*a\.csv is not UTF-8.*data_prep\.format\.encoding"):
        read(tmp_path)
    events = read(tmp_path, Reading(format=DataFormat(encoding="cp1252")))
    assert set(events.frame["plan"]) == {"é"}
    assert "minutés" in events.kinds


def test_content_decides_over_the_extension(tmp_path):
    (tmp_path / "a.csv").write_bytes(gzip.compress(csv_text().encode()))
    pd.DataFrame(records(plan=lambda i: "gold", minutes=float)).astype({"customer_id": int}).assign(
        customer_id=lambda frame: frame["customer_id"] + 10
    ).to_parquet(tmp_path / "b.parquet")
    (tmp_path / "b.parquet").rename(tmp_path / "b.csv")
    events = read(tmp_path)
    assert events.num_read == len(events.frame) == 12


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"PK\x03\x04 and more", "it is a ZIP archive"), (b"<!DOCTYPE html><html></html>", "it is a web page")],
)
def test_what_is_no_data_is_named(tmp_path, content, says):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read(tmp_path)


def test_an_empty_part_is_told_and_does_not_end_the_run(tmp_path):
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "b.csv").write_text(csv_text())
    events = read(tmp_path)
    assert len(events.frame) == 6
    assert events.notes == (f"{tmp_path}/a.csv is empty",)


def test_an_array_of_json_is_read_element_by_element(tmp_path):
    rows = [*records(minutes=float), [1]]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=2))
    events = read(tmp_path)
    assert events.frame["minutes"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (events.num_read, events.quarantine["row"].tolist()) == (7, [7])


def test_folders_below_the_input_are_columns(tmp_path):
    for region, start in (("eu", 0), ("us%20east", 10)):
        folder = tmp_path / "partition=2025-01-14" / f"region={region}"
        folder.mkdir(parents=True)
        frame = pd.DataFrame(records(minutes=float))
        frame["customer_id"] += start
        frame.to_parquet(folder / "a.parquet")
    events = read(tmp_path / "partition=2025-01-14")
    assert events.kinds == {"minutes": NUMERIC, "region": CATEGORICAL}
    assert sorted(events.frame["region"]) == ["eu"] * 6 + ["us east"] * 6
    assert events.partition == "2025-01-14"


def test_the_same_customer_has_one_name_in_each_format(tmp_path):
    (tmp_path / "a.csv").write_text(
        "customer_id,event_time,churn\n1,2025-01-01,no\n2.0, 2025-01-02 ,yes\n c-3 ,2025-01-03,no\n"
    )
    pd.DataFrame({"customer_id": [1.0, 2.0], "event_time": ["2025-02-01"] * 2, "churn": [0.0, 1.0]}).to_parquet(
        tmp_path / "b.parquet"
    )
    (tmp_path / "c.jsonl").write_text('{"customer_id": 1, "event_time": "2025-03-01", "churn": "t"}')
    assert sorted(read(tmp_path).frame["customer_id"]) == ["1", "1", "1", "2", "2", "c-3"]


@pytest.mark.parametrize("word", ["", " ", '""', "N/A", "n/a", "NULL", "\\N", "#N/A"])
def test_a_missing_word_is_missing_in_numbers_and_in_text(tmp_path, word):
    (tmp_path / "a.csv").write_text(csv_text(20) + f"c-1,2025-01-14,{word},{word},yes\n")
    events = read(tmp_path)
    row = events.frame.set_index("customer_id").loc["c-1"]
    assert row["plan"] is None
    assert pd.isna(row["minutes"])
    assert (events.kinds["minutes"], events.num_quarantined, events.notes) == (NUMERIC, 0, ())


def test_declared_missing_words_replace_the_usual_ones(tmp_path):
    (tmp_path / "a.csv").write_text(csv_text(20) + "c-1,2025-01-14,NA,999,yes\n")
    events = read(tmp_path, Reading(format=DataFormat(null=("999",))))
    row = events.frame.set_index("customer_id").loc["c-1"]
    assert row["plan"] == "NA"
    assert pd.isna(row["minutes"])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("value", [2025, 202501, 45671, 250114, 25014, 631_151_999])
def test_a_number_that_is_no_time_is_refused_in_each_format(tmp_path, kind, value):
    frame = pd.DataFrame(records()).assign(event_time=value)
    match kind:
        case "csv":
            frame.to_csv(tmp_path / "a.csv", index=False)
        case "jsonl":
            frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
        case _:
            frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"6 x unreadable event_time.*first bad row: .*, not a time|neither a day"):
        read(tmp_path)


@pytest.mark.parametrize("value", [20250114, 20250114.0, 1_736_812_800, 1_736_812_800_000])
def test_a_number_is_the_same_time_in_each_format(tmp_path, value):
    for index, suffix in enumerate(("csv", "jsonl", "parquet")):
        frame = pd.DataFrame(records()).assign(event_time=value)
        frame["customer_id"] += 10 * index
        path = tmp_path / f"a.{suffix}"
        if suffix == "csv":
            frame.to_csv(path, index=False)
        elif suffix == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_parquet(path)
    assert set(read(tmp_path).frame["event_time"]) == {pd.Timestamp("2025-01-14", tz="UTC")}


def test_times_in_either_order_are_refused_with_the_key_and_read_when_declared(tmp_path):
    frame = pd.DataFrame(records()).assign(event_time="03/02/2025")
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=r"event_time_format"):
        read(tmp_path)
    events = read(tmp_path, Reading(format=DataFormat(event_time_format="%d/%m/%Y")))
    assert set(events.frame["event_time"]) == {pd.Timestamp("2025-02-03", tz="UTC")}


def test_hints_name_what_a_value_looks_like():
    assert hint("2025").startswith("a year")
    assert hint("202501").startswith("a month")
    assert hint("250114").startswith("a day of the form YYMMDD")
    assert hint("45671.0").startswith("a day number")
    assert hint("yesterday") == ""


def test_a_future_time_is_refused_and_a_later_one_left_out(tmp_path):
    rows = records(8)
    rows[0]["event_time"], rows[1]["event_time"] = "9999-12-31", "2025-01-20"
    pd.DataFrame(rows).assign(event_time=lambda frame: frame["event_time"]).to_csv(tmp_path / "a.csv", index=False)
    day = dt.datetime(2025, 1, 15, tzinfo=dt.UTC)
    events = read(tmp_path, Reading(as_of=day, now=day + dt.timedelta(days=30)))
    assert events.reasons == {"future event_time": 1}
    assert events.frame["customer_id"].tolist() == ["2", "3", "4", "5", "6", "7"]
    assert events.notes == ("1 events after 2025-01-15 00:00 UTC are left out",)


def test_only_the_latest_event_of_a_customer_is_picked_if_asked(tmp_path):
    rows = [
        {"customer_id": "a", "event_time": f"2025-01-{day:02d}", "churn": day % 2, "minutes": day} for day in (5, 9, 2)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    events = read(tmp_path, Reading(is_latest_only=True))
    assert (events.num_read, events.frame["minutes"].tolist()) == (3, [9])
    events = read(tmp_path, Reading(is_latest_only=True, as_of=dt.datetime(2025, 1, 6, tzinfo=dt.UTC)))
    assert events.frame["minutes"].tolist() == [5]


def test_a_quarantine_that_moves_the_labels_rate_is_refused_with_figures(tmp_path):
    good = csv_text(40).encode()
    bad = b"".join(b"x-%d,2025-01-14,\xe9,1,no\n" % i for i in range(20))
    (tmp_path / "a.csv").write_bytes(good + bad)
    with pytest.raises(InputError, match=r"positive labels from 0\.333 to 0\.500: 20 rows.*20 x unparsable line"):
        read(tmp_path)


@pytest.mark.parametrize("word", ["t", "Y", "True.", "1.0", "TRUE"])
def test_the_usual_words_are_labels(tmp_path, word):
    rows = [record | {"churn": word if record["churn"] else "no"} for record in records()]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    assert read(tmp_path).frame["churn"].tolist() == [0, 1, 0, 1, 0, 1]


def test_a_column_without_a_name_is_told_and_no_feature(tmp_path):
    pd.DataFrame(records(minutes=float)).to_csv(tmp_path / "a.csv")
    events = read(tmp_path)
    assert events.kinds == {"minutes": NUMERIC}
    assert "column without a name is no feature" in events.notes[0]


def test_text_in_binary_columns_is_text(tmp_path):
    frame = pd.DataFrame(records(plan=lambda i: b"gold"))
    frame["customer_id"] = [f"c-{i}".encode() for i in range(6)]
    frame.to_parquet(tmp_path / "a.parquet")
    events = read(tmp_path)
    assert events.frame["customer_id"].tolist() == [f"c-{i}" for i in range(6)]
    assert set(events.frame["plan"]) == {"gold"}


def test_a_broken_page_of_parquet_is_named_with_its_file(tmp_path):
    pd.DataFrame(records(2_000, minutes=lambda i: i * 0.37)).to_parquet(tmp_path / "a.parquet", compression=None)
    pd.DataFrame(records(2_000, minutes=lambda i: i * 0.37)).to_parquet(tmp_path / "b.parquet", compression="zstd")
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    data[4 : len(data) // 2] = b"\xff" * (len(data) // 2 - 4)
    (tmp_path / "b.parquet").write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"b\.parquet is damaged or not Parquet"):
        read(tmp_path)


def test_a_list_declared_categorical_is_refused(tmp_path):
    pd.DataFrame(records(tags=lambda i: [i])).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"'tags' is declared in features\.categorical, but 6 of its 6 values are not"):
        read(tmp_path, categorical=("tags",))


def test_a_declared_column_may_have_bad_values_up_to_a_half(tmp_path):
    values = ["1", "2", "3", "x", "x", "x"]
    pd.DataFrame(records(minutes=lambda i: values[i])).to_csv(tmp_path / "a.csv", index=False)
    events = read(tmp_path, numeric=("minutes",))
    assert events.frame["minutes"].tolist()[:3] == [1, 2, 3]
    assert "column 'minutes': 3 of 6 values are not numeric and count as missing" in events.notes
    pd.DataFrame(records(minutes=lambda i: "x" if i else "1")).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=r"5 of its 6 values are not numeric.*data_prep\.format: null, decimal"):
        read(tmp_path, numeric=("minutes",))


def test_nan_that_the_statistics_of_parquet_do_not_count_is_missing(tmp_path):
    """pyarrow and others write NaN as a value, and leave it out of minimum and maximum."""
    nan = float("nan")
    table = pa.table(
        {
            "customer_id": [nan, 0.0, 1.0, 2.0],
            "event_time": ["2025-01-14"] * 4,
            "minutes": [1.0, nan, 3.0, 4.0],
            "code": [1.0, nan, 7.0, 9.0],
            "churn": [0, 1, 0, 1],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    events = read(tmp_path, categorical=("code",))
    assert events.reasons == {"null customer_id": 1}
    assert list(events.frame["customer_id"]) == ["0", "1", "2"]
    assert events.frame["minutes"].isna().tolist() == [True, False, False]
    assert list(events.frame["code"]) == [None, "7", "9"]
    assert not any("minutes" in note or "code" in note for note in events.notes), events.notes


def test_what_each_file_was_taken_for_is_told_once_for_each_way_of_writing(tmp_path):
    (tmp_path / "a.csv").write_text(csv_text(separator=";"))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(csv_text().replace("-14", "-15").encode("utf-16")))
    (tmp_path / "c.csv").write_text(csv_text(separator=";").replace("-14", "-16"))
    (tmp_path / "d.csv").write_text("")
    assert read(tmp_path).formats == (
        "2 files: CSV (fields end with ';', utf-8)",
        "1 file: CSV (fields end with ',', utf-16-le, gzip)",
        "1 file: empty",
    )
