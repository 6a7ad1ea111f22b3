"""Checksums and the head's file byte for byte: a later release must find a journal of this one whole."""

from __future__ import annotations

import hashlib
import struct

import msgspec
import pytest

from divisions.errors import JournalDamagedError
from router.journal.seal import NO_CHAIN, Head, Seal, row_sum

STATE, BEFORE = b"s" * 32, b"b" * 32


def slot(writes: int, state: bytes = STATE) -> bytes:
    check = hashlib.sha256(struct.pack("<Q", writes) + state).digest()[:24]
    return struct.pack("<Q", writes) + state + check


def head(path) -> Head:
    return Head(path / "journal.head", is_synchronous=False)


def test_a_chain_is_the_sha256_of_the_chain_before_and_the_columns():
    columns = (1, 2.5, "churn", "started", 1, 7, "note", b"{}")
    packed = msgspec.msgpack.encode(columns)
    first = hashlib.sha256(bytes(32) + packed).digest()
    assert row_sum(*columns, before=NO_CHAIN) == first
    assert row_sum(*columns, before=first) == hashlib.sha256(first + packed).digest()
    assert row_sum(*columns) == hashlib.sha256(packed).digest()


def test_the_file_has_two_slots_that_are_written_in_turn(tmp_path):
    it = head(tmp_path)
    assert not it.exists
    it.write(Seal(6, STATE, BEFORE))
    assert (tmp_path / "journal.head").read_bytes() == slot(6) * 2
    for writes, expected in ((7, slot(6) + slot(7)), (8, slot(8) + slot(7)), (9, slot(8) + slot(9))):
        it.write(Seal(writes, STATE, BEFORE))
        assert (tmp_path / "journal.head").read_bytes() == expected
        assert it.read() == (writes, STATE)
    assert (tmp_path / "journal.head").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damaged", [0, 1])
def test_one_whole_slot_is_enough(tmp_path, damaged):
    slots = [slot(8), slot(9)]
    slots[damaged] = bytes([slots[damaged][0] ^ 1]) + slots[damaged][1:]
    (tmp_path / "journal.head").write_bytes(b"".join(slots))
    assert head(tmp_path).read()[0] == (9 if damaged == 0 else 8)


@pytest.mark.parametrize(
    ("data", "word"), [(b"", "missing"), (b"x", "damaged"), (b"x" * 128, "damaged"), (slot(3)[:-1], "damaged")]
)
def test_without_a_whole_slot_there_is_no_head(tmp_path, data, word):
    (tmp_path / "journal.head").write_bytes(data)
    with pytest.raises(JournalDamagedError, match=f"journal.head is {word}"):
        head(tmp_path).read()


def test_a_slot_that_was_cut_does_not_hide_the_other(tmp_path):
    (tmp_path / "journal.head").write_bytes(slot(8) + slot(9)[:-1])
    assert head(tmp_path).read() == (8, STATE)
    it = head(tmp_path)
    it.write(Seal(10, STATE, BEFORE))
    assert (tmp_path / "journal.head").read_bytes() == slot(10) * 2, "both slots get their place anew"


def test_a_head_catches_up_with_what_it_missed_and_only_then(tmp_path):
    it = head(tmp_path)
    it.catch_up(Seal(3, STATE, BEFORE))
    assert it.read()[0] == 3
    (tmp_path / "journal.head").unlink()
    it.catch_up(Seal(3, STATE, BEFORE))
    assert not it.exists
    it.catch_up(Seal(4, STATE, BEFORE))
    assert it.read()[0] == 4


@pytest.mark.parametrize(("writes", "told"), [(8, "its last 1 writes"), (1, "its last 8 writes are missing")])
def test_an_older_journal_is_told_by_how_much(tmp_path, writes, told):
    it = head(tmp_path)
    it.write(Seal(9, STATE, BEFORE))
    with pytest.raises(JournalDamagedError, match=told):
        it.check(Seal(writes, STATE, BEFORE))
    it.check(Seal(9, STATE, BEFORE))
    it.check(Seal(10, b"t" * 32, STATE))
