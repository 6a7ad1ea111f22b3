"""Opens the journal's database: makes a new one, brings one of an earlier release up to date, refuses a damaged one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from divisions.errors import ClusterError, JournalDamagedError
from router.control.journal_seal import REMEDY, Head, Seal, chains, read_seal, row_sum, state_of, verify

SCHEMA_VERSION = 2
BUSY_S = 1.0
"""How long a write waits for another process that locks the file. A rollback must not wait longer."""
COPIES = "journal-copies"
_CREATE = """
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, endpoint TEXT NOT NULL, kind TEXT NOT NULL,
    generation INTEGER NOT NULL, epoch INTEGER NOT NULL, note TEXT NOT NULL, record BLOB NOT NULL, chain BLOB);
CREATE INDEX journal_by_endpoint ON journal (endpoint, seq);
CREATE TABLE snapshot (endpoint TEXT PRIMARY KEY, rollout INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB);
CREATE TABLE version (
    endpoint TEXT NOT NULL, version TEXT NOT NULL, spec BLOB NOT NULL, sum BLOB, PRIMARY KEY (endpoint, version));
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_SEAL = "CREATE TABLE seal (id INTEGER PRIMARY KEY, writes INTEGER NOT NULL, state BLOB NOT NULL, before BLOB NOT NULL)"
_ADD_SUMS = ("journal ADD COLUMN chain BLOB", "snapshot ADD COLUMN sum BLOB", "version ADD COLUMN sum BLOB")


def head_of(path: Path, *, is_synchronous: bool = True) -> Head:
    """The head of a journal's file."""
    return Head(path.with_suffix(".head"), is_synchronous=is_synchronous)


def open_database(path: Path, head: Head, *, is_synchronous: bool = True) -> sqlite3.Connection:
    """Opens the journal for writing, after a check of all of it.

    Raises:
        JournalDamagedError: it is damaged, empty or missing although there was one.
        ClusterError: it cannot be opened, or another release wrote it.
    """
    is_there = check_before_start(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if is_synchronous else 'OFF'}")
        if not is_there:
            with transaction(db):
                for statement in _CREATE.split(";"):
                    db.execute(statement)
                db.execute("INSERT INTO meta VALUES ('schema', ?)", (SCHEMA_VERSION,))
                _seal_first(db)
        elif _schema(db) == 1:
            _add_checksums(db)
    except sqlite3.Error as error:
        raise ClusterError(f"the journal {path} cannot be opened: {error}", remedy=REMEDY) from None
    if not head.exists:
        head.write(read_seal(db))
    return db


def check_before_start(path: Path) -> bool:
    """Checks a journal without changing it; returns whether there is one.

    Raises:
        JournalDamagedError: it is damaged, empty or missing although there was one.
        ClusterError: it is no journal, or another release wrote it.
    """
    if path.exists() and path.stat().st_size > 0:
        verify_file(path)
        return True
    if head_of(path).exists or any(path.parent.glob(f"{COPIES}/*.db")):
        what = "is empty" if path.exists() else "is missing"
        raise JournalDamagedError(f"the journal {path} {what}, but there was one", remedy=REMEDY)
    return False


def verify_file(path: Path) -> Seal | None:
    """Checks a journal without changing it; returns its seal, or None for one of a release without checksums.

    Raises:
        JournalDamagedError: it is damaged.
        ClusterError: it is no journal, or another release wrote it.
    """
    head = head_of(path)
    try:
        seal = verify_alone(path)
        if seal is None and head.exists:
            raise JournalDamagedError("its checksums are missing", remedy=REMEDY)
        if seal is not None and (seal.writes or head.exists):  # A new journal has no head before its first write.
            head.check(seal)
    except JournalDamagedError as error:
        raise JournalDamagedError(f"the journal {path} is damaged: {error.message}", remedy=error.remedy) from None
    return seal


def verify_alone(path: Path) -> Seal | None:
    """As `verify_file`, without its head: for copies."""
    with contextlib.closing(connect_to_read(path)) as db:
        try:
            version = _schema(db)
            if version == 1:
                _verify_old(db)
                return None
            if version == SCHEMA_VERSION:
                return verify(db)
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise JournalDamagedError(f"it cannot be read: {error}", remedy=REMEDY) from None
    raise ClusterError(
        f"the journal {path} has format {version}, this release writes {SCHEMA_VERSION}",
        remedy="use the release that wrote it, or move the file away to start anew",
    )


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. One that may write merges the write-ahead log when it is closed."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_S)


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commits what is done inside, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _schema(db: sqlite3.Connection) -> int:
    (version,) = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone() or (0,)
    return int(version)


def _verify_old(db: sqlite3.Connection) -> None:
    """A journal without checksums: only SQLite's own check is possible."""
    (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise JournalDamagedError(f"SQLite finds: {' '.join(str(found).split())}", remedy=REMEDY)
    if db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'seal'").fetchone() != (0,):
        raise JournalDamagedError("its format is not as it was written", remedy=REMEDY)


def _add_checksums(db: sqlite3.Connection) -> None:
    """Seals a journal of a release without checksums as it is."""
    with transaction(db):
        for change in _ADD_SUMS:
            db.execute(f"ALTER TABLE {change}")
        # Releases without checksums may have left numbers out; a chain has none missing.
        for number, (seq,) in enumerate(db.execute("SELECT seq FROM journal ORDER BY seq").fetchall(), 1):
            db.execute("UPDATE journal SET seq = ? WHERE seq = ?", (number, seq))
        for seq, _, expected in list(chains(db)):
            db.execute("UPDATE journal SET chain = ? WHERE seq = ?", (expected, seq))
        for table, columns in (("version", "endpoint, version, spec"), ("snapshot", "endpoint, rollout, body")):
            for rowid, *values in db.execute(f"SELECT rowid, {columns} FROM {table}").fetchall():
                db.execute(f"UPDATE {table} SET sum = ? WHERE rowid = ?", (row_sum(*values), rowid))
        db.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (SCHEMA_VERSION,))
        _seal_first(db)


def _seal_first(db: sqlite3.Connection) -> None:
    db.execute(_SEAL)
    state = state_of(db)
    db.execute("INSERT INTO seal VALUES (1, 0, ?, ?)", (state, state))
