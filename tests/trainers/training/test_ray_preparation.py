"""The data preparation on another node: the run gets through the store what it would have made itself."""

import os

import numpy as np
import pandas as pd
import pytest

from divisions.artifacts.work_store import open_work_store
from divisions.errors import TrainingError
from divisions.pipeline.definition import Features
from divisions.settings import PRIVATE_UMASK, S3Settings, Settings
from tests.trainers.churn import raw_frame
from tests.trainers.cluster_data.dirty import write_dirty
from trainers.data.ingest import Reading
from trainers.data.preparation import PreparationTask, prepare, table_sha256
from trainers.training import ray_preparation
from trainers.training.ray_preparation import Room, prepare_there, take_here
from trainers.training.training_rows import fetched_rows, training_data

ROOM = Room(num_nodes=1, num_processes=1, num_cpus=1.0, memory_bytes=0)


@pytest.fixture
def there(monkeypatch):
    """The task in this process, which keeps its priority and its umask."""
    monkeypatch.setattr(ray_preparation, "lower_priority", lambda: None)
    before = os.umask(PRIVATE_UMASK)
    yield prepare_there
    os.umask(before)


def task_of(tmp_path, kind):
    if kind == "dirty":
        raw = write_dirty(tmp_path / "raw")
    else:
        raw = tmp_path / "raw"
        raw.mkdir()
        frame = raw_frame(400).assign(note=None)
        frame.loc[::7, "plan"] = None
        frame.loc[::5, "minutes"] = np.nan
        frame.loc[3, "customer_id"] = None
        frame.to_parquet(raw / "events.parquet")
    newest = tmp_path / "run" / "features" / "churn" / ".newest-r.draft"
    # A run has a place for the rows that cannot be used; without one they are in memory.
    quarantine = newest.with_name(".quarantine-r.draft") if kind == "plain" else None
    reading = Reading(is_latest_only=True, newest=newest, quarantine=quarantine)
    return PreparationTask(str(raw), Features(), "churn", 0, S3Settings(), (), reading=reading)


def newest_rows(task):
    """They are put in order later, with the model's features."""
    return pd.read_parquet(task.reading.newest).sort_values("entity", ignore_index=True)


@pytest.mark.parametrize("kind", ["plain", "dirty"])
def test_a_run_gets_what_it_would_have_made_itself(tmp_path, there, kind):
    task = task_of(tmp_path, kind)
    settings = Settings(home=tmp_path / "run", artifacts=str(tmp_path / "shared"))
    store, notices = open_work_store(settings), []
    result = there(task, ROOM, settings, "churn")
    assert len(result.prepared.table) == 0, "no table goes through Ray"
    taken = take_here(result, task, store, notices.append)
    newest, quarantine = newest_rows(task), taken.events.quarantine
    assert taken.events.unusable.path == task.reading.quarantine
    assert len(quarantine) == taken.events.num_quarantined > 0
    alone = prepare(task)

    assert taken.data_sha256 == alone.data_sha256 == table_sha256(taken.table)
    for name in ("table", "train", "holdout"):
        one, other = getattr(taken, name), getattr(alone, name)
        assert (one.entities, one.schema, one.notes) == (other.entities, other.schema, other.notes)
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.y, other.y)
        np.testing.assert_array_equal(one.is_held_N, other.is_held_N)
        pd.testing.assert_frame_equal(one.raw, other.raw)
        for column in other.rows.columns:
            assert type(one.rows.columns[column]) is type(other.rows.columns[column])
            assert one.rows.columns[column].to_arrow().equals(other.rows.columns[column].to_arrow())
    pd.testing.assert_frame_equal(quarantine, alone.events.quarantine)
    assert taken.events.newest == alone.events.newest
    pd.testing.assert_frame_equal(newest, newest_rows(task))
    assert (taken.columns, taken.events.reasons, taken.events.num_read) == (
        alone.columns,
        alone.events.reasons,
        alone.events.num_read,
    )
    with fetched_rows(taken.rows, store, tmp_path / "cache") as rows:
        expected = training_data(alone, task.seed)
        np.testing.assert_array_equal(rows.train_rows_NF, expected.train_rows_NF)
        np.testing.assert_array_equal(rows.valid_labels_N, expected.valid_labels_N)
    assert [one.path for one in store.listed("churn")] == [f"{taken.rows.folder.partition('/')[2]}/rows.npy"]
    assert notices == []


def test_without_a_shared_store_only_the_training_rows_are_written(tmp_path, there):
    task = task_of(tmp_path, "plain")
    settings = Settings(home=tmp_path / "run")
    result = there(task, ROOM, settings, "churn")
    assert take_here(result, task, open_work_store(settings), print) is result.prepared
    assert len(result.prepared.table) > 0
    assert [one.path.rpartition("/")[2] for one in open_work_store(settings).listed("churn")] == ["rows.npy"]


def test_a_table_that_was_changed_in_the_store_is_not_taken(tmp_path, there):
    task = task_of(tmp_path, "plain")
    settings = Settings(home=tmp_path / "run", artifacts=str(tmp_path / "shared"))
    result = there(task, ROOM, settings, "churn")
    (path,) = (tmp_path / "shared").rglob("table.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(TrainingError, match=r"table\.npy .* is not as it was written"):
        take_here(result, task, open_work_store(settings), print)
