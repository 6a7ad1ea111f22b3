"""The writer's own rules: epochs that were published without the disk are written with what was kept."""

import sqlite3

import pytest

from divisions.clock import ManualClock
from divisions.errors import JournalDamagedError, JournalUnavailableError
from router.control.journal import Journal
from router.control.journal_seal import Head, Seal
from router.control.journal_writer import EPOCH_LEAP, JournalWriter


def test_epochs_leap_once_while_the_journal_is_away_and_are_written_by_the_next_flush(tmp_path):
    is_full = False

    def before_write(kind):
        if is_full:
            raise sqlite3.OperationalError("database or disk is full")

    journal = Journal(tmp_path / "journal.db", before_write, is_synchronous=False)
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
    journal = Journal(tmp_path / "journal.db", is_synchronous=False)
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
