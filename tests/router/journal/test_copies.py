"""Copies of the journal: how many, how often, which one is put back, and what a check says of each file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from divisions.control import RolloutCommand
from divisions.errors import ClusterError
from router.journal import sqlite
from router.journal.copies import COPY_S, MAX_COPIES, check, make_copy, restore
from router.journal.sqlite import SqliteDatabase, verify_alone, verify_file
from tests.router.rollout_world import World, spec


def database_in(folder):
    return SqliteDatabase(folder / "journal.db")


@pytest.fixture
def home(tmp_path):
    """A home with a journal and two copies, an older and a newer one; nothing runs on it."""
    world = World(tmp_path)
    world.deploy_first()
    make_copy(database_in(tmp_path))
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.controller.command(RolloutCommand("churn", "pause"))
    make_copy(database_in(tmp_path))
    world.journal.close()
    return tmp_path


def test_number_and_times_are_those_of_the_documentation():
    text = " ".join((Path(__file__).parents[3] / "docs" / "rollouts.md").read_text().split())
    assert re.search(r"one within half a minute after every entry, the last (\w+), each checked", text)[1] == "twelve"
    assert (MAX_COPIES, COPY_S) == (12, 30.0)


def test_the_journal_comes_first_and_the_newest_copy_next(home):
    journal, newest, oldest = check(database_in(home))
    assert (journal.path.name, journal.fault) == ("journal.db", "")
    assert newest.writes > oldest.writes > 0
    assert re.fullmatch(r"journal-[0-9]{12}\.db", newest.path.name)
    assert int(newest.path.stem.rpartition("-")[2]) == newest.writes == verify_alone(newest.path).writes


def test_the_copy_that_is_named_is_put_back_and_has_a_head_again(home):
    """A copy has no head beside it: it is checked without."""
    _, _, oldest = check(database_in(home))
    assert restore(database_in(home), home / "aside", oldest.path) == oldest
    assert verify_file(home / "journal.db").writes == oldest.writes
    assert (home / "journal.db").stat().st_mode & 0o777 == 0o600
    assert (home / "aside").stat().st_mode & 0o777 == 0o700
    assert {"journal.db", "journal.head"} <= {path.name for path in (home / "aside").iterdir()}
    assert not (home / "aside" / "restored.db").exists()


def test_a_copy_that_is_not_whole_is_named_with_its_fault(home):
    _, newest, _ = check(database_in(home))
    newest.path.write_bytes(b"")
    with pytest.raises(ClusterError, match="is not whole: is empty"):
        restore(database_in(home), home / "aside", newest.path)
    newest.path.unlink()
    with pytest.raises(ClusterError, match="is not whole: is missing"):
        restore(database_in(home), home / "aside", newest.path)
    assert not (home / "aside").exists()


def test_of_whole_files_the_one_with_the_most_writes_is_taken(home):
    journal, newest, _ = check(database_in(home))
    assert journal.writes >= newest.writes
    assert restore(database_in(home), home / "aside").writes == journal.writes
    (home / "journal.db").unlink()
    assert [bool(found.fault) for found in check(database_in(home))] == [True, False, False]
    assert restore(database_in(home), home / "again").path == newest.path


def test_a_disk_that_is_full_leaves_everything_as_it_was(home, monkeypatch):
    before = verify_file(home / "journal.db")

    def full(source, target):
        raise OSError("no space")

    monkeypatch.setattr(sqlite, "copy_file", full)
    with pytest.raises(ClusterError, match="cannot be copied: no space"):
        restore(database_in(home), home / "aside")
    assert verify_file(home / "journal.db") == before
    assert not (home / "aside").exists()
    with pytest.raises(OSError, match="no space"):
        make_copy_of_changed(home)


def make_copy_of_changed(home) -> None:
    """A copy after all copies were removed, so that there is something to copy."""
    for copy in (home / "journal-copies").iterdir():
        copy.unlink()
    make_copy(database_in(home))
