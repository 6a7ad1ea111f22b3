import datetime as dt
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.pipeline.definition import DataPrep, Features, Resources
from divisions.pipeline.file import parse_pipeline
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from tests.trainers.churn import FEATURES, raw_frame
from tests.trainers.data.rows import rows_of
from trainers.data.feature_table import build_feature_table, split_holdout
from trainers.data.ingest import RawEvents, read_events
from trainers.data.preparation import PreparationTask, prepare, reading_of, validation_mask
from trainers.data.quarantine import Quarantine


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "partition=2025-01-13"
    folder.mkdir()
    frame = raw_frame(400)
    frame.loc[3, "customer_id"] = None
    frame.to_parquet(folder / "events.parquet")
    return prepare(PreparationTask(str(folder), FEATURES, "churn", 0, S3Settings(), ()))


def test_training_and_holdout_share_no_customer_and_leave_none_out(prepared):
    train, holdout = set(prepared.train.entities), set(prepared.holdout.entities)
    assert not train & holdout
    assert train | holdout == set(prepared.table.entities)
    assert len(prepared.table) == 399


def test_counts_and_quarantine_outlive_the_rows(prepared):
    assert (len(prepared.events.frame), prepared.events.num_read, prepared.events.num_quarantined) == (0, 400, 1)


def test_a_run_reads_up_to_the_end_of_its_day_and_refuses_times_in_the_future():
    data_prep = DataPrep("x", resources=Resources(num_cpus=1.0, memory_gb=4.0))
    noon_s = dt.datetime(2025, 1, 14, 12, tzinfo=dt.UTC).timestamp()
    reading = reading_of(data_prep, dt.date(2025, 1, 10), noon_s)
    assert reading.as_of == dt.datetime(2025, 1, 10, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    assert reading.now == dt.datetime(2025, 1, 15, 12, tzinfo=dt.UTC)
    assert (reading.limits.num_threads, reading.limits.memory_gb, reading.is_latest_only) == (1, 2.0, True)
    later = reading_of(data_prep, dt.date(2025, 3, 1), noon_s)
    assert later.now == later.as_of


DECLARED = """\
pipeline: churn
stages:
  data_prep:
    input: data
    format:
      delimiter: ":"
      encoding: cp1252
      null: [unbekannt, "999"]
      event_time_format: "%d/%m/%Y"
  deployment:
    endpoint: /api/v2/predict/churn
"""


def test_what_the_pipeline_file_declares_about_its_files_reaches_the_events(tmp_path):
    lines = ["customer_id:event_time:plan:minutes:churn"]
    lines += [f"c-{i}:13/01/2025:groß:{i}.5:{'yes' if i % 2 else 'no'}" for i in range(40)]
    lines += ["c-40:13/01/2025:unbekannt:999:yes", "c-41:13/01/2025:NA:1.5:no"]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode("cp1252"))
    data_prep = parse_pipeline(DECLARED).data_prep
    reading = reading_of(data_prep, dt.date(2025, 1, 14), dt.datetime(2025, 1, 14, tzinfo=dt.UTC).timestamp())
    events = read_events(
        str(tmp_path), s3=S3Settings(), allow_buckets=(), features=Features(), label="churn", reading=reading
    )
    rows = events.frame.set_index("customer_id")
    assert (len(rows), events.num_quarantined) == (42, 0)
    assert set(rows["event_time"]) == {pd.Timestamp("2025-01-13", tz="UTC")}
    assert rows.loc["c-40", "plan"] is None
    assert pd.isna(rows.loc["c-40", "minutes"])
    assert (rows.loc["c-41", "plan"], rows.loc["c-0", "plan"]) == ("NA", "groß")


def test_validation_takes_a_tenth_of_each_label_by_customer(prepared):
    table = prepared.train
    mask = validation_mask(table, seed=0)
    for label in (0.0, 1.0):
        assert mask[table.y == label].mean() == pytest.approx(0.1, abs=0.02)
    half = table.take(np.arange(len(table)) % 2 == 0)
    chosen = set(np.array(table.entities)[mask])
    # By customer, not by position: of the half that is left, the chosen ones stay chosen, but for the rounding.
    again = set(np.array(half.entities)[validation_mask(half, seed=0)])
    assert len(again & chosen) >= 0.6 * len(again)
    assert (mask != validation_mask(table, seed=1)).any()


def test_one_customer_of_a_label_is_learnt_from_and_not_kept_back(prepared):
    table = prepared.train
    few = table.take(np.cumsum(table.y == 1.0) <= 1)
    assert few.y.sum() == 1.0
    assert not validation_mask(few, seed=0)[few.y == 1.0].any()


def repeated(customers, num_times):
    """A table with rows of several times of each customer; labels change from one time to the next."""
    keys = [(f"c-{customer:03}", time) for customer in range(customers) for time in range(num_times)]
    frame = pd.DataFrame(keys, columns=["customer_id", "time"])
    frame["event_time"] = pd.Timestamp("2025-01-01", tz="UTC") + frame["time"] * pd.Timedelta(days=30)
    frame["churn"] = [(int(name[2:]) + time) % 3 % 2 for name, time in keys]
    frame["spend"] = np.arange(len(frame)) % 7 + 0.5
    rows = replace(rows_of(frame.drop(columns="time")), is_repeated=True)
    events = RawEvents("test://events", "", rows, {"spend": FeatureKind.NUMERIC}, Quarantine(), len(frame))
    return build_feature_table(events, Features(), "churn")


def test_of_several_rows_of_a_customer_all_are_learned_from_and_the_newest_is_measured():
    table = repeated(200, 4)
    split = split_holdout(table)
    assert len(table) == 800
    learned, measured = set(split.train.entities), set(split.holdout.entities)
    assert len(split.train) == 4 * len(learned)
    assert len(split.holdout) == len(measured)
    assert not learned & measured
    assert len(learned | measured) == table.rows.num_customers == 200
    assert set(split.holdout.rows.times_N) == {table.rows.times_N.max()}


@given(customers=st.integers(2, 60), num_times=st.integers(1, 5), seed=st.integers(0, 9))
def test_no_customer_of_several_rows_is_on_both_sides_of_the_validation(customers, num_times, seed):
    table = repeated(customers, num_times)
    mask = validation_mask(table, seed)
    names = np.array(table.entities)
    assert not set(names[mask]) & set(names[~mask])
    assert not mask.all()
    assert set(table.y[mask]) == {0.0, 1.0} or customers < 10


def test_the_hash_of_the_data_depends_on_all_of_it(prepared, tmp_path):
    def hash_of(frame):
        frame.to_parquet(tmp_path / "events.parquet")
        return prepare(PreparationTask(str(tmp_path), FEATURES, "churn", 0, S3Settings(), ())).data_sha256

    frame = raw_frame(400)
    same, shuffled = hash_of(frame), hash_of(frame.sample(frac=1.0, random_state=0, ignore_index=True))
    assert same == shuffled
    assert same != prepared.data_sha256
    for column, value in (("minutes", 1.0), ("churn", not frame.loc[7, "churn"]), ("customer_id", "somebody else")):
        changed = frame.copy()
        changed.loc[7, column] = value
        assert hash_of(changed) != same, column


WIDE = """
import pathlib, sys
from divisions.pipeline.definition import Features
from divisions.settings import S3Settings
from trainers.data.preparation import PreparationTask, prepare
table = prepare(PreparationTask(sys.argv[1], Features(), "churn", 0, S3Settings(), ())).table
status = pathlib.Path("/proc/self/status").read_text()  # getrusage begins with the peak of the process before exec
print(table.schema.num_columns, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def test_memory_does_not_grow_with_the_square_of_the_columns(tmp_path):
    """DuckDB gives each aggregate with a FILTER a block for the inputs of all: 3,000 columns at once took 40 GB."""
    index = np.arange(60)
    columns = {f"f{column}": (index * 7 + column) % 17 for column in range(400)}
    frame = pd.DataFrame({"customer_id": [f"c{i}" for i in index], **columns, "churn": index % 3 == 0})
    frame.assign(event_time="2025-01-13").to_csv(tmp_path / "a.csv", index=False)
    done = subprocess.run(
        [sys.executable, "-c", WIDE, str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[3],
        check=True,
    )
    num_columns, megabytes = map(int, done.stdout.split())
    assert num_columns == 400
    assert megabytes < 500  # all at once, it were 900
