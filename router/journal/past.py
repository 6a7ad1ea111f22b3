"""Checks SQLite journals of earlier releases by the checksums that those wrote, before a migration changes them.

Format 1 had no checksums. Format 2 had a chain over all entries from the first one on, and a state in the order in
which SQLite keeps rows.
"""

from __future__ import annotations

import hashlib
import sqlite3

import msgspec

from divisions.errors import JournalDamagedError
from router.journal.seal import NO_CHAIN, REMEDY, Seal, row_sum


def verify_without_sums(db: sqlite3.Connection) -> None:
    """Format 1: only SQLite's own check is possible.

    Raises:
        JournalDamagedError: it fails, or this is another format.
    """
    if db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'seal'").fetchone() != (0,):
        raise JournalDamagedError("its format is not as it was written", remedy=REMEDY)


def verify_second(db: sqlite3.Connection) -> Seal:
    """Format 2; returns the seal.

    Raises:
        JournalDamagedError: something is not as it was written.
    """
    chain = NO_CHAIN
    columns = "seq, at_s, endpoint, kind, generation, epoch, note, record"
    rows = db.execute(f"SELECT {columns}, chain FROM journal ORDER BY seq")
    for number, (*values, found) in enumerate(rows, 1):
        chain = row_sum(*values, before=chain)
        if values[0] != number or found != chain:
            raise JournalDamagedError(f"entry {number} is not as it was written", remedy=REMEDY)
    digest = hashlib.sha256(chain)
    for table, columns in (("version", "endpoint, version, spec"), ("snapshot", "endpoint, rollout, body")):
        for *values, found in db.execute(f"SELECT {columns}, sum FROM {table} ORDER BY rowid"):
            if row_sum(*values) != found:
                raise JournalDamagedError(f"a row of the table {table} is not as it was written", remedy=REMEDY)
            digest.update(found)
    digest.update(msgspec.msgpack.encode(db.execute("SELECT name, value FROM meta ORDER BY name").fetchall()))
    seals = db.execute("SELECT writes, state, before FROM seal").fetchall()
    if len(seals) != 1:
        raise JournalDamagedError("its seal is missing", remedy=REMEDY)
    if digest.digest() != seals[0][1]:
        raise JournalDamagedError("its rows do not match its seal", remedy=REMEDY)
    return Seal(*seals[0])
