"""Checkpoints in a store: which are due, which one counts, which are kept; and what a killed writer leaves."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from divisions.artifacts.work_store import open_work_store
from divisions.settings import Settings
from trainers.training.checkpoints import (
    NUM_CHECKPOINTS,
    NUM_KEPT,
    CheckpointName,
    Checkpoints,
    is_due,
    newest_first,
    superfluous,
)

names = st.builds(CheckpointName, st.integers(0, 99_999), st.text("0123456789abcdef", min_size=16, max_size=16))
files = st.lists(names.map(str) | st.text(max_size=30), max_size=20)


@given(names)
def test_a_name_says_what_it_was_made_of(name):
    assert CheckpointName.parse(str(name)) == name


@given(st.text() | names.map(lambda name: f".{name}-0a1b.draft"))
def test_other_files_are_no_checkpoints(text):
    assert CheckpointName.parse(text) is None


@given(st.integers(1, 500))
def test_a_dead_worker_costs_at_most_a_tenth_of_a_run(num_epochs):
    due = [epoch for epoch in range(num_epochs) if is_due(epoch, num_epochs)]
    assert due[-1] == num_epochs - 1
    gaps = [after - before for before, after in zip([-1, *due], due, strict=False)]
    assert max(gaps) <= max(1, num_epochs // NUM_CHECKPOINTS)
    assert len(due) <= 2 * NUM_CHECKPOINTS


@given(files)
def test_the_newest_counts_first(listed):
    found = newest_first(listed)
    assert [name.epoch for name in found] == sorted((name.epoch for name in found), reverse=True)
    assert {str(name) for name in found} == {file for file in listed if CheckpointName.parse(file) is not None}


@given(files, names)
def test_a_new_checkpoint_leaves_itself_one_before_it_and_all_later_ones(listed, written):
    after = [*listed, str(written)]
    removed = set(superfluous(after, written.epoch))
    kept = [name for name in newest_first(after) if str(name) not in removed]
    assert written in kept
    assert len({name.epoch for name in kept if name.epoch <= written.epoch}) <= NUM_KEPT
    assert all(name in kept for name in newest_first(after) if name.epoch > written.epoch)
    assert all(CheckpointName.parse(file).epoch < written.epoch for file in removed)


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(open_work_store(Settings(home=tmp_path)), "churn/rows/key")


def state(epoch):
    return {"epoch": epoch, "model": {"w": torch.full((3,), float(epoch))}, "history": [{"loss": 0.5}] * (epoch + 1)}


def folder(tmp_path) -> Path:
    return tmp_path / "training" / "_runs" / "churn" / "rows" / "key"


def test_what_was_saved_is_loaded_and_two_are_kept(checkpoints, tmp_path):
    assert checkpoints.newest() is None
    for epoch in range(4):
        checkpoints.save(state(epoch))
    newest = checkpoints.newest()
    assert newest is not None
    loaded = checkpoints.load(newest)
    assert (loaded["epoch"], len(loaded["history"])) == (3, 4)
    assert torch.equal(loaded["model"]["w"], torch.full((3,), 3.0))
    assert [name.epoch for name in newest_first(path.name for path in folder(tmp_path).iterdir())] == [3, 2]


@pytest.mark.parametrize("damage", ["cut", "changed", "draft"])
def test_what_a_killed_worker_left_in_part_is_passed_over(checkpoints, tmp_path, damage):
    checkpoints.save(state(0))
    checkpoints.save(state(1))
    (newest,) = folder(tmp_path).glob("epoch-00001-*.pt")
    content = newest.read_bytes()
    match damage:
        case "cut":
            newest.write_bytes(content[: len(content) // 2])
        case "changed":
            newest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "draft":
            newest.rename(newest.with_name(f".{newest.name}-0a1b2c3d.draft"))
    found = checkpoints.newest()
    assert found is not None
    assert found.epoch == 0
    with pytest.raises(FileNotFoundError):
        checkpoints.load(CheckpointName(1, hashlib.sha256(content).hexdigest()[:16]))


def test_a_checkpoint_holds_no_code(checkpoints, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    place = folder(tmp_path)
    place.mkdir(parents=True)
    torch.save({"epoch": 0, "model": Evil()}, tmp_path / "evil.pt")
    content = (tmp_path / "evil.pt").read_bytes()
    name = CheckpointName(0, hashlib.sha256(content).hexdigest()[:16])
    (place / str(name)).write_bytes(content)
    with pytest.raises(pickle.UnpicklingError):
        checkpoints.load(name)
