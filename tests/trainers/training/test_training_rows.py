"""Training rows as a file: the same rows on every node, fetched once, checked, and gone when nobody uses them."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.artifacts.work_store import WorkStore, open_work_store
from divisions.errors import ArtifactStoreError, TrainingError
from divisions.settings import Settings
from tests.trainers.churn import HYPERPARAMS, SCHEMA, training_data
from trainers.training.loop import train
from trainers.training.model import build_model
from trainers.training.training_rows import FILE, TrainingData, fetched_rows, open_rows, store_rows, write_rows


def same(one: TrainingData, other: TrainingData) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in TrainingData.__slots__
    )


@given(num_train=st.integers(1, 20), num_valid=st.integers(0, 20), columns=st.integers(1, 5))
@settings(max_examples=30)
def test_rows_of_any_shape_come_back(tmp_path_factory, num_train, num_valid, columns):
    rng = np.random.default_rng(num_train)

    def rows(count):
        values = rng.normal(size=(count, columns)).astype(np.float32)
        values[values > 1.0] = np.nan
        return values

    data = TrainingData(
        rows(num_train), np.ones(num_train, np.float32), rows(num_valid), np.zeros(num_valid, np.float32)
    )
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    write_rows(data, path)
    assert same(open_rows(path, num_train), data)


def test_rows_from_a_file_train_to_the_same_weights(tmp_path):
    data = training_data()
    write_rows(data, tmp_path / "rows.npy")
    stored = open_rows(tmp_path / "rows.npy", len(data.train_rows_NF))

    def weights(rows):
        return train(build_model(SCHEMA, rows.train_rows_NF, HYPERPARAMS), rows, HYPERPARAMS, lambda *_: None)

    one, other = weights(data), weights(stored)
    assert all(one[name].equal(other[name]) for name in one)


@dataclass
class Node:
    """A machine with a home of its own. ``fetches`` counts what it has read from the store."""

    home: object
    store: WorkStore
    fetches: list[str] = field(default_factory=list)

    def rows(self, stored):
        return fetched_rows(stored, self, self.home / "rows")

    def local_path(self, folder, name):
        return self.store.local_path(folder, name)

    def fetch(self, folder, name, place):
        self.fetches.append(name)
        return self.store.fetch(folder, name, place)

    @property
    def name(self):
        return self.store.name


@pytest.fixture
def shared(tmp_path):
    return open_work_store(Settings(home=tmp_path / "driver", artifacts=str(tmp_path / "shared")))


@pytest.fixture
def stored(tmp_path, shared):
    return store_rows(training_data(), shared, "churn", tmp_path / "draft.npy")


@pytest.fixture
def node(tmp_path, shared):
    return Node(tmp_path / "node", shared)


def files(node):
    return sorted(path.name for path in (node.home / "rows").iterdir())


def test_processes_of_a_node_fetch_rows_once_and_the_last_removes_them(node, stored):
    together = threading.Barrier(3)

    def work():
        with node.rows(stored) as data:
            together.wait()
            assert same(data, training_data())
            together.wait()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert node.fetches == [FILE]
    assert files(node) == []


def test_what_a_killed_process_has_left_goes_with_the_next_training(node, stored, shared, tmp_path):
    (node.home / "rows").mkdir(parents=True)
    for suffix in (".npy", ".lock", ".draft", ".fetch"):
        (node.home / "rows" / f"{'0' * 64}{suffix}").write_bytes(b"left")
    other = store_rows(training_data(seed=1), shared, "churn", tmp_path / "other.npy")
    with node.rows(stored), node.rows(other) as data:
        assert same(data, training_data(seed=1))
        assert [name for name in files(node) if name.endswith(".npy")] == sorted(
            f"{one.sha256}.npy" for one in (stored, other)
        )
    assert files(node) == []


def test_rows_that_were_changed_are_refused_and_the_next_run_mends_them(node, stored, shared, tmp_path):
    (path,) = (tmp_path / "shared").rglob(FILE)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(TrainingError, match="not as they were written"), node.rows(stored):
        pass
    store_rows(training_data(), shared, "churn", tmp_path / "again.npy")
    with node.rows(stored) as data:
        assert same(data, training_data())


def test_rows_that_are_not_there_are_an_error_with_a_remedy(node, stored, shared, tmp_path):
    shared.remove_folder(stored.folder)
    with pytest.raises(TrainingError, match="DIVISIONS_ARTIFACTS"), node.rows(stored):
        pass
    alone = open_work_store(Settings(home=tmp_path / "alone"))
    with pytest.raises(TrainingError, match="DIVISIONS_ARTIFACTS"), fetched_rows(stored, alone, tmp_path / "cache"):
        pass


def test_a_store_that_is_away_says_so(stored, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(ArtifactStoreError, match="does not answer, or refuses"):
        store_rows(
            training_data(), open_work_store(Settings(home=tmp_path, artifacts=str(blocked))), "churn", tmp_path / "d"
        )


def test_without_a_shared_store_the_homes_own_file_is_used(tmp_path):
    store = open_work_store(Settings(home=tmp_path / "home"))
    stored = store_rows(training_data(), store, "churn", tmp_path / "draft.npy")
    with fetched_rows(stored, store, tmp_path / "cache") as data:
        assert same(data, training_data())
    assert not (tmp_path / "cache").exists()
