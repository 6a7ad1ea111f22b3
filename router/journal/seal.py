"""Checksums of the journal: of every row, chained over the entries, and of everything together.

A database notices a damaged page only sometimes, and a write-ahead log that was cut, or a backup that was restored,
gives an older state without a word. So:

- every entry has a *chain*: the SHA-256 of the chain before it and of its own columns. The first entry that is left
  follows the *anchor*, the chain of the last one that was pruned;
- every version and snapshot has a *sum*: the SHA-256 of its columns;
- the table ``seal`` has one row: how many writes there were, and the *state*, a SHA-256 of all that (`Contents.state`).
  It also has the state before the last write;
- the file ``journal.head`` repeats the number and the state, outside the database. A journal that is older than its
  head has lost something. It may be ahead: the process can end between the commit and the head, and a journal that
  machines share is written by controllers of other machines.

`router.journal.verify` checks all of that. Any difference is damage, and is refused.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Contents:
    """What the state is made of. The one controller that writes keeps it in memory, and reads nothing before a write.

    Attributes:
        last_seq: number of the last entry; that of the anchor if there is none.
        chain: of the last entry.
        anchor_seq: number of the last entry that was pruned; 0 if none was.
        anchor: its chain.
        versions: number and sum of each version, by endpoint and name.
        snapshots: sum of each snapshot, by endpoint.
        meta: the table.
    """

    last_seq: int = 0
    chain: bytes = NO_CHAIN
    anchor_seq: int = 0
    anchor: bytes = NO_CHAIN
    versions: Mapping[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    snapshots: Mapping[str, bytes] = field(default_factory=dict)
    meta: Mapping[str, int] = field(default_factory=dict)

    def state(self) -> bytes:
        """The SHA-256 of all of it. Its order is that of names here, not of a database's collation."""
        digest = hashlib.sha256(self.chain)
        digest.update(msgspec.msgpack.encode((self.last_seq, self.anchor_seq, self.anchor)))
        for _, (_, checksum) in sorted(self.versions.items()):
            digest.update(checksum)
        for _, checksum in sorted(self.snapshots.items()):
            digest.update(checksum)
        digest.update(msgspec.msgpack.encode(sorted(self.meta.items())))
        return digest.digest()

    @property
    def num_entries(self) -> int:
        return self.last_seq - self.anchor_seq


def row_sum(*columns: object, before: bytes = b"") -> bytes:
    """The SHA-256 of a row; with ``before``, of a row that follows another one.

    >>> row_sum("a", 1) == row_sum("a", 1), row_sum("a", 1) == row_sum("a1")
    (True, False)
    """
    return hashlib.sha256(before + msgspec.msgpack.encode(columns)).digest()


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

    def check(self, seal: Seal, *, is_shared: bool = False) -> None:
        """Compares a journal's seal with the head.

        Args:
            seal: of the journal.
            is_shared: whether controllers of other machines may have written since.

        Raises:
            JournalDamagedError: the journal is older than its head, or not the one that the head is of.
        """
        writes, state = self.read()
        if seal.writes < writes:
            why = "an older backup was restored" if is_shared else "its write-ahead log was cut or lost"
            raise JournalDamagedError(f"its last {writes - seal.writes:,} writes are missing; {why}", remedy=REMEDY)
        is_same = seal.writes == writes and seal.state == state
        is_one_ahead = seal.writes == writes + 1 and seal.before == state
        is_later = is_shared and seal.writes > writes + 1
        if not is_same and not is_one_ahead and not is_later:
            raise JournalDamagedError(f"{self._path.name} belongs to another journal", remedy=REMEDY)


def _check(writes: int, state: bytes) -> bytes:
    return hashlib.sha256(struct.pack("<Q", writes) + state).digest()[:24]
