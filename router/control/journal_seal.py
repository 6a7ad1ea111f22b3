"""Checksums of the journal: of every row, chained over the entries, and of everything together.

SQLite notices a damaged page only sometimes, and a write-ahead log that was cut gives an older state without a word.
So:

- every entry has a *chain*: the SHA-256 of the chain before it and of its own columns;
- every version and snapshot has a *sum*: the SHA-256 of its columns;
- the table ``seal`` has one row: how many writes there were, and the *state*, a SHA-256 of the last chain, all sums and
  the table ``meta``. It also has the state before the last write;
- the file ``journal.head`` repeats the number and the state, outside the database. A journal that is older than its
head
  has lost something. It may be one write ahead: the process can end between the commit and the head.

`verify` checks all of that. Any difference is damage, and is refused.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from divisions.errors import JournalDamagedError

NO_CHAIN = bytes(32)
_SLOT = struct.Struct("<Q32s24s")
"""One slot of the head: number of writes, state, and the first 24 bytes of the SHA-256 of both."""
REMEDY = (
    "`divisions journal check` shows the journal and its copies, `divisions journal restore` brings back the newest "
    "whole one; to start anew, move journal.db, journal.head and journal-copies away"
)


@dataclass(frozen=True, slots=True)
class Seal:
    """How many writes there were, the state after the last one, and the state before it."""

    writes: int
    state: bytes
    before: bytes


def row_sum(*columns: object, before: bytes = b"") -> bytes:
    """The SHA-256 of a row; with ``before``, of a row that follows another one.

    >>> row_sum("a", 1) == row_sum("a", 1), row_sum("a", 1) == row_sum("a1")
    (True, False)
    """
    return hashlib.sha256(before + msgspec.msgpack.encode(columns)).digest()


def state_of(db: sqlite3.Connection) -> bytes:
    """The SHA-256 of the last chain, of all sums, and of the table ``meta``."""
    digest = hashlib.sha256(last_chain(db)[1])
    for table in ("version", "snapshot"):
        for (checksum,) in db.execute(f"SELECT sum FROM {table} ORDER BY rowid"):
            digest.update(checksum)
    digest.update(msgspec.msgpack.encode(db.execute("SELECT name, value FROM meta ORDER BY name").fetchall()))
    return digest.digest()


def last_chain(db: sqlite3.Connection) -> tuple[int, bytes]:
    """The number and the chain of the last entry; 0 and `NO_CHAIN` if there is none."""
    row = db.execute("SELECT seq, chain FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
    return (row[0], row[1]) if row else (0, NO_CHAIN)


def read_seal(db: sqlite3.Connection) -> Seal:
    rows = db.execute("SELECT writes, state, before FROM seal").fetchall()
    if len(rows) != 1:
        raise JournalDamagedError("its seal is missing", remedy=REMEDY)
    return Seal(*rows[0])


def chains(db: sqlite3.Connection) -> Iterator[tuple[int, bytes, bytes]]:
    """Every entry's number, the chain that it has, and the chain that it should have."""
    before = NO_CHAIN
    columns = "seq, at_s, endpoint, kind, generation, epoch, note, record"
    for *values, chain in db.execute(f"SELECT {columns}, chain FROM journal ORDER BY seq"):
        before = row_sum(*values, before=before)
        yield values[0], chain, before


def verify(db: sqlite3.Connection) -> Seal:
    """Checks every row of a journal; returns its seal.

    Raises:
        JournalDamagedError: something is not as it was written; the message has no subject, the caller knows the file.
        sqlite3.Error: the database cannot be read.
    """
    (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise JournalDamagedError(f"SQLite finds: {' '.join(str(found).split())}", remedy=REMEDY)
    for number, (seq, chain, expected) in enumerate(chains(db), 1):
        if seq != number or chain != expected:
            raise JournalDamagedError(f"entry {number} is not as it was written", remedy=REMEDY)
    for endpoint, name, spec, checksum in db.execute("SELECT endpoint, version, spec, sum FROM version"):
        if row_sum(endpoint, name, spec) != checksum:
            raise JournalDamagedError("a version is not as it was written", remedy=REMEDY)
    for endpoint, rollout, body, checksum in db.execute("SELECT endpoint, rollout, body, sum FROM snapshot"):
        if row_sum(endpoint, rollout, body) != checksum:
            raise JournalDamagedError("the evidence of a rollout is not as it was written", remedy=REMEDY)
    seal = read_seal(db)
    if state_of(db) != seal.state:
        raise JournalDamagedError("its rows do not match its seal", remedy=REMEDY)
    return seal


class Head:
    """The file ``journal.head``: two slots in turn, so that one is whole if the machine stops while it writes the
    other.

    Args:
        path: of the file.
        is_synchronous: whether a write is on disk when it returns.
    """

    def __init__(self, path: Path, *, is_synchronous: bool = True) -> None:
        self._path = path
        self._is_synchronous = is_synchronous
        self._written: int | None = None

    @property
    def exists(self) -> bool:
        return self._path.exists()

    def read(self) -> tuple[int, bytes]:
        """The number of writes and the state of the newest whole slot.

        Raises:
            JournalDamagedError: there is none.
        """
        data = self._path.read_bytes() if self.exists else b""
        slots = [data[at : at + _SLOT.size] for at in range(0, 2 * _SLOT.size, _SLOT.size)]
        whole = [
            (writes, state)
            for writes, state, check in (_SLOT.unpack(slot) for slot in slots if len(slot) == _SLOT.size)
            if check == _check(writes, state)
        ]
        if not whole:
            raise JournalDamagedError(f"{self._path.name} is {'damaged' if data else 'missing'}", remedy=REMEDY)
        return max(whole)

    def write(self, seal: Seal) -> None:
        """Writes over the older slot. Both slots have their place on disk from the first write on."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            slot = _SLOT.pack(seal.writes, seal.state, _check(seal.writes, seal.state))
            if os.fstat(descriptor).st_size < 2 * _SLOT.size:
                os.pwrite(descriptor, slot + slot, 0)
            else:
                os.pwrite(descriptor, slot, seal.writes % 2 * _SLOT.size)
            if self._is_synchronous:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._written = seal.writes

    def catch_up(self, seal: Seal) -> None:
        """Writes the seal again if the last `write` of it failed, so that the head is never two writes behind."""
        if self._written != seal.writes:
            self.write(seal)

    def check(self, seal: Seal) -> None:
        """Compares a journal's seal with the head.

        Raises:
            JournalDamagedError: the journal is older than its head, or not the one that the head is of.
        """
        writes, state = self.read()
        if seal.writes < writes:
            lost = writes - seal.writes
            raise JournalDamagedError(
                f"its last {lost:,} writes are missing; its write-ahead log was cut or lost", remedy=REMEDY
            )
        is_same = seal.writes == writes and seal.state == state
        is_one_ahead = seal.writes == writes + 1 and seal.before == state
        if not is_same and not is_one_ahead:
            raise JournalDamagedError(f"{self._path.name} belongs to another journal", remedy=REMEDY)


def _check(writes: int, state: bytes) -> bytes:
    return hashlib.sha256(struct.pack("<Q", writes) + state).digest()[:24]
