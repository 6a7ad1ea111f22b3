"""The writer's own rules: epochs that were published without the disk are written with what was kept."""

import sqlite3

import pytest

from divisions.clock import ManualClock
from divisions.errors import JournalDamagedError, JournalUnavailableError
from router.journal.journal import Journal
from router.journal.seal import Head, Seal
from router.journal.sqlite import SqliteDatabase
from router.journal.writer import EPOCH_LEAP, JournalWriter


def test_epochs_leap_once_while_the_journal_is_away_and_are_written_by_the_next_flush(tmp_path):
    is_full = False

    def before_write(kind):
        if is_full:
            raise sqlite3.OperationalError("database or disk is full")

    journal = Journal(SqliteDatabase(tmp_path / "journal.db", is_synchronous=False), before_write)
    writer = JournalWriter(journal, ManualClock())
    assert writer.next_epoch(1) == 2
    is_full = True
    leaped = writer.next_epoch(2)
    assert leaped >= 2 + EPOCH_LEAP
    assert writer.next_epoch(leaped) == leaped + 1
    writer.flush()
    assert (journal.epoch, "disk is full" in writer.fault) == (2, True)
    is_full = False
    writer.flush()
    assert (journal.epoch, writer.fault) == (leaped + 1, "")
    assert writer.next_epoch(leaped + 1) == leaped + 2


def test_a_version_that_cannot_be_written_is_an_error(tmp_path):
    journal = Journal(SqliteDatabase(tmp_path / "journal.db", is_synchronous=False))
    journal.close()
    with pytest.raises(JournalUnavailableError, match="cannot be written"):
        journal.reserve_epoch(1)


@pytest.mark.parametrize(
    ("writes", "state", "before", "words"),
    [
        (7, b"s", b"r", ""),
        (8, b"t", b"s", ""),
        (8, b"t", b"x", "belongs to another journal"),
        (7, b"x", b"r", "belongs to another journal"),
        (9, b"t", b"s", "belongs to another journal"),
        (5, b"s", b"r", "its last 2 writes are missing"),
    ],
)
def test_a_journal_may_be_as_its_head_or_one_write_ahead_of_it(tmp_path, writes, state, before, words):
    head = Head(tmp_path / "journal.head", is_synchronous=False)
    head.write(Seal(7, b"s" * 32, b"r" * 32))
    seal = Seal(writes, state * 32, before * 32)
    if words:
        with pytest.raises(JournalDamagedError, match=words):
            head.check(seal)
    else:
        head.check(seal)


class FullDisk:
    """A journal on a disk that is full while ``is_full``."""

    def __init__(self, folder, clock):
        self.is_full = True
        self.journal = Journal(SqliteDatabase(folder / "journal.db", is_synchronous=False), self.before_write)
        self.writer = JournalWriter(self.journal, clock)

    def before_write(self, kind):
        if self.is_full:
            raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize(("seconds", "further"), [(1.0, 100), (9_999.0, 9_999 * 100), (10_000.0, 0)])
def test_controllers_that_lose_the_disk_at_other_seconds_leap_to_other_epochs(tmp_path, seconds, further):
    clock = ManualClock(wall_s=1_700_000_000.0)
    leaps = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        disk = FullDisk(tmp_path / name, clock)
        leaps.append(disk.writer.next_epoch(5) - 5)
        clock.advance(seconds)
    assert leaps[0] == 1_000, "1,700,000,000 is a multiple of the repetition"
    assert leaps[1] - leaps[0] == further


def test_what_is_kept_is_told_with_its_number_and_since_when(tmp_path):
    clock = ManualClock(wall_s=0.0)
    disk = FullDisk(tmp_path, clock)
    assert disk.writer.fault == ""
    disk.writer.next_epoch(1)
    assert disk.writer.fault.endswith("(since 1970-01-01 00:00:00 UTC)")
    clock.advance(100.0)
    disk.writer.next_epoch(2)
    assert "1970-01-01 00:00:00" in disk.writer.fault, "the first failure counts"
    disk.is_full = False
    disk.writer.flush()
    assert (disk.writer.fault, disk.writer.num_kept) == ("", 0)


@pytest.mark.parametrize("is_full", [False, True])
def test_starts_are_counted_also_if_they_cannot_be_written(tmp_path, is_full):
    disk = FullDisk(tmp_path, ManualClock())
    disk.is_full = is_full
    assert disk.writer.count_start() == 1
    assert disk.writer.count_start() == (1 if is_full else 2)
    assert disk.journal.starts == (0 if is_full else 2)
