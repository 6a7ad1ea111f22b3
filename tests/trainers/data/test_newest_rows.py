"""Two sets of rows: what is learned from, and what is served."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.errors import InputError
from divisions.pipeline.definition import Features
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import S3Settings
from trainers.data.engine import Limits
from trainers.data.ingest import Reading, read_events
from trainers.data.newest_rows import NewestRows, write_newest

LIMITS = Limits(num_threads=1)
AMOUNT = FeatureSchema((Feature("amount", FeatureKind.NUMERIC),))
LABELS = {"yes": 1, "no": 0}


def read(folder, known_label="churn", **reading):
    return read_events(
        str(folder),
        s3=S3Settings(),
        allow_buckets=(),
        features=Features(),
        label=known_label,
        reading=Reading(limits=LIMITS, is_latest_only=True, newest=folder.parent / "newest.draft", **reading),
    )


def served(events, schema=AMOUNT, also=()):
    """The newest rows by customer."""
    path = events.newest.path.with_name("newest.parquet")
    write_newest(events.newest, path, schema, also, LIMITS)
    return pd.read_parquet(path).set_index("customer_id")


def write_lines(folder, records):
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def event(customer, time, amount, churn=None):
    record = {"customer_id": customer, "event_time": time, "amount": amount}
    return record if churn is None else {**record, "churn": churn}


def test_a_customer_is_learned_from_the_labelled_event_and_served_the_newest(tmp_path):
    folder = write_lines(
        tmp_path / "raw",
        [
            event("c-1", "2025-01-01", 1, "yes"),
            event("c-1", "2025-02-01", 1001),
            event("c-2", "2025-01-01", 2, "no"),
            event("c-3", "2025-01-15", 3),
        ],
    )
    events = read(folder)
    learned = events.frame.set_index("customer_id")
    assert learned["amount"].to_dict() == {"c-1": 1, "c-2": 2}
    assert served(events)["amount"].to_dict() == {"c-1": 1001.0, "c-2": 2.0, "c-3": 3.0}
    assert served(events)["event_time"]["c-1"] == pd.Timestamp("2025-02-01", tz="UTC")
    assert (events.num_read, events.num_quarantined, events.num_newest) == (4, 0, 3)
    assert any(note.startswith("1 of 3 customers have no churn") for note in events.notes)


def test_an_input_whose_customers_are_mostly_without_a_label_is_read(tmp_path):
    records = [event(f"c-{i}", "2025-01-01", i, "yes" if i < 3 else None) for i in range(40)]
    events = read(write_lines(tmp_path / "raw", records))
    assert (len(events.frame), events.num_newest, events.num_quarantined) == (3, 40, 0)


def test_a_label_that_cannot_be_read_costs_the_label_not_the_customer(tmp_path):
    records = [event(f"c-{i}", "2025-01-01", i, "no") for i in range(20)]
    records += [event("c-1", "2025-01-02", 101, "perhaps")]
    records += [event("c-2", "2025-01-02", 102, "yes"), event("c-2", "2025-01-02", 202, "no")]
    events = read(write_lines(tmp_path / "raw", records))
    assert events.reasons == {"conflicting label": 2, "unknown churn": 1}
    amounts = served(events)["amount"]
    assert (amounts["c-1"], amounts["c-2"], len(amounts)) == (101.0, 102.0, 20)
    assert events.frame.set_index("customer_id")["amount"][["c-1", "c-2"]].tolist() == [1, 2]


def test_of_two_rows_of_one_event_the_one_with_a_label_counts(tmp_path):
    records = [event("c-1", "2025-01-01", 1), event("c-1", "2025-01-01", 2, "yes"), event("c-2", "2025-01-01", 3, "no")]
    events = read(write_lines(tmp_path / "raw", records))
    assert events.reasons == {"duplicate event": 1}
    assert events.frame.set_index("customer_id")["amount"].to_dict() == {"c-1": 2, "c-2": 3}
    assert served(events)["amount"].to_dict() == {"c-1": 2.0, "c-2": 3.0}


def test_files_of_newer_events_may_lack_the_label_column(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    old = pd.DataFrame([event(f"c-{i}", "2025-01-01", i, "no") for i in range(5)])
    old.to_csv(folder / "a.csv", index=False)
    old.drop(columns="churn").assign(event_time="2025-02-01", amount=77).to_csv(folder / "b.csv", index=False)
    (folder / "c.jsonl").write_text(json.dumps(event("c-9", "2025-02-01", 9)) + "\n")
    events = read(folder)
    assert sorted(events.frame["amount"]) == [0, 1, 2, 3, 4]
    assert sorted(served(events)["amount"]) == [9.0, 77.0, 77.0, 77.0, 77.0, 77.0]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.sampled_from(["yes", "no", "", "perhaps", "?"])),
        min_size=1,
        max_size=14,
    ),
    st.integers(1, 4),
)
def test_both_sets_are_those_of_a_plain_loop(tmp_path_factory, rows, last_day):
    folder = tmp_path_factory.mktemp("raw") / "raw"
    # Rows that are always usable, so that the bad ones are never the most.
    rows = [*rows, *(("z", day, "yes" if day % 2 else "no") for day in range(5, 7 + len(rows)))]
    lines = [f"{name},2025-01-{day:02d},{index},{label}" for index, (name, day, label) in enumerate(rows)]
    folder.mkdir()
    (folder / "a.csv").write_text("\n".join(["customer_id,event_time,amount,churn", *lines]) + "\n")
    events = read(folder, as_of=pd.Timestamp(f"2025-01-{last_day:02d}T12:00:00Z").to_pydatetime())
    learned, newest, num_bad = _plain_loop(rows, last_day)
    assert dict(zip(events.frame["customer_id"], events.frame["amount"], strict=True)) == learned
    assert served(events)["amount"].to_dict() == newest
    assert events.num_quarantined == num_bad


def _plain_loop(rows, last_day):
    """What is learned from and what is served, by customer; and how many rows are quarantined."""
    by_event = {}
    for index, (name, day, label) in enumerate(rows):
        by_event.setdefault((name, day), []).append((index, label))
    learned, newest, num_bad = {}, {}, 0
    for (name, day), same in sorted(by_event.items(), key=lambda item: item[0][1]):
        labelled = [(index, label) for index, label in same if label in LABELS]
        bare = [index for index, label in same if label == ""]
        unknown = [index for index, label in same if label in {"perhaps", "?"}]
        is_conflict = len({label for _, label in labelled}) > 1
        num_bad += len(unknown)
        num_bad += len(labelled) + len(bare) if is_conflict else max(0, len(labelled) + len(bare) - 1)
        if day > last_day:
            continue
        newest[name] = labelled[0][0] if labelled else (bare or unknown)[0]
        if labelled and not is_conflict:
            learned[name] = labelled[0][0]
    return learned, newest, num_bad


def test_the_file_has_the_model_s_features_by_name_and_kind(tmp_path):
    hostile = 'pl\'an "x", -- {}'
    records = [
        {**event("c-1", "2025-01-01", 1, "yes"), "Amount": 10.5, hostile: "408", "flag": True, "odd": "x"},
        {**event("c-2", "2025-01-01", 2, "no"), "Amount": 11.5, hostile: None, "flag": None, "odd": "y"},
    ]
    events = read(write_lines(tmp_path / "raw", records))
    schema = FeatureSchema(
        (
            Feature("amount", FeatureKind.NUMERIC),
            Feature("Amount", FeatureKind.NUMERIC),
            Feature(hostile, FeatureKind.CATEGORICAL),
            Feature("flag", FeatureKind.BOOLEAN),
        )
    )
    path = tmp_path / "newest.parquet"
    write_newest(events.newest, path, schema, (), LIMITS)
    written = pq.read_table(path)
    assert written.schema.names == ["customer_id", "event_time", "amount", "Amount", hostile, "flag"]
    assert written.schema.types[1:4] == [pa.timestamp("us", tz="UTC"), pa.float64(), pa.float64()]
    assert written.to_pylist()[0] | {"event_time": None} == {
        "customer_id": "c-1", "event_time": None, "amount": 1.0, "Amount": 10.5, hostile: "408", "flag": True,
    }  # fmt: skip
    assert written.to_pylist()[1][hostile] is None
    assert written.to_pylist()[1]["flag"] is None
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_a_feature_of_the_previous_version_has_its_own_kind(tmp_path):
    records = [
        {**event("c-1", "2025-01-01", 1, "yes"), "area": 408, "code": "7", "loud": 1.0},
        {**event("c-2", "2025-01-01", 2, "no"), "area": 408, "code": "x", "loud": 0.0},
    ]
    events = read(write_lines(tmp_path / "raw", records))
    also = (
        Feature("area", FeatureKind.CATEGORICAL),
        Feature("code", FeatureKind.NUMERIC),
        Feature("loud", FeatureKind.BOOLEAN),
    )
    rows = served(events, AMOUNT, also)
    assert rows["area"].tolist() == ["408", "408"]
    assert rows["code"].tolist() == pytest.approx([7.0, float("nan")], nan_ok=True)
    assert rows["loud"].tolist() == [True, False]


def test_values_that_do_not_fit_their_kind_are_missing(tmp_path):
    records = [event(f"c-{i}", "2025-01-01", i, "no") for i in range(40)]
    records[7]["amount"] = "many"
    events = read(write_lines(tmp_path / "raw", records))
    amounts = served(events)["amount"]
    assert pd.isna(amounts["c-7"])
    assert amounts.notna().sum() == 39


def test_rows_of_a_node_that_does_not_share_the_home_are_missed_by_name(tmp_path):
    lost = NewestRows(tmp_path / ".newest-1.draft", {})
    with pytest.raises(InputError, match=r"\.newest-1\.draft, but this process does not find it.*share the home"):
        write_newest(lost, tmp_path / "newest.parquet", AMOUNT, (), LIMITS)
