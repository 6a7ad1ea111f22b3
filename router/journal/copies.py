"""Copies of the journal in the home folder: made after every decision, a bounded number, checked; and the way back.

A copy is one SQLite file, ``journal-copies/journal-<number of writes>.db``, also of a journal that is in PostgreSQL. It
has all checksums, so it can be checked without ``journal.head``.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from divisions.errors import ClusterError, DivisionsError, JournalDamagedError
from router.journal import tables
from router.journal.database import ERRORS, Database
from router.journal.place import COPIES
from router.journal.sqlite import SqliteDatabase, connect_to_read, verify_alone

COPY_S = 30.0
"""How often the controller looks whether there are new entries."""
MAX_COPIES = 12
"""A rollout has about ten entries, in bursts; so this is the last rollout or two, and what was before them."""


@dataclass(frozen=True, slots=True)
class Found:
    """A journal or a copy, as a check finds it. ``fault`` is empty if it is whole; without checksums ``writes`` is
    0."""

    path: Path | str
    """Of a file; or what a journal on a server is called."""
    writes: int
    fault: str


def make_copy(database: Database) -> Path | None:
    """Copies the journal while it is in use; returns the copy, or None if there is no new entry since the last one.

    Evidence, epochs and starts are no reason for a copy.

    Raises:
        SQLAlchemyError: the journal cannot be read.
        sqlite3.Error: the copy cannot be written.
        OSError: the folder cannot be written.
        JournalDamagedError: the copy is not whole, and was thrown away.
    """
    folder = database.place / COPIES
    newest = max(folder.glob("journal-*.db"), default=None)
    if _last_entry(database) == (_last_entry_of(newest) if newest else None):
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / "new"
    new.unlink(missing_ok=True)
    try:
        database.copy_to(new)
        seal = verify_alone(new)
        target = folder / f"journal-{seal.writes if seal else 0:012d}.db"
        new.chmod(0o600)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
    for old in sorted(folder.glob("journal-*.db"))[:-MAX_COPIES]:
        old.unlink()
    return target


def check(database: Database) -> list[Found]:
    """The journal, which comes first, and its copies, newest first."""
    for _ in range(3):  # A controller that runs may write between the journal and its head.
        found = [_checked(database, with_head=True)]
        if not found[0].fault:
            break
    copies = sorted(database.place.glob(f"{COPIES}/journal-*.db"), reverse=True)
    return found + [_checked_file(copy) for copy in copies]


def restore(database: Database, aside: Path, copy: Path | None = None) -> Found:
    """Puts a copy in the journal's place, and moves what is there into the folder ``aside``; returns what it took.

    Args:
        database: no controller writes it.
        aside: a new folder.
        copy: which copy, or the journal's file of another home; None takes the whole one with the most writes. That may
            be the journal itself, if only its head or its write-ahead log is damaged.

    Raises:
        ClusterError: there is no whole copy, or the one that was asked for is not whole.
        JournalHeldError: a living controller of another cluster writes it.
    """
    own = _checked(database, with_head=False)
    candidates = [_checked_file(copy)] if copy is not None else [own, *check(database)[1:]]
    whole = [found for found in candidates if not found.fault]
    if not whole:
        what = (
            f"the copy {copy} is not whole: {candidates[0].fault}" if copy else "no whole copy of the journal is left"
        )
        raise ClusterError(what, remedy="`divisions journal check` lists the copies")
    chosen = max(whole, key=lambda found: found.writes)
    if isinstance(chosen.path, Path):
        database.replace_by(chosen.path, aside)
    else:
        database.trust()
    return chosen


def _last_entry(database: Database) -> tuple[object, ...] | None:
    """What tells the last entry from any other; None if there is none."""
    columns = tables.journal.c
    last = select(columns.seq, columns.at_s, columns.kind).order_by(columns.seq.desc()).limit(1)
    with database.view() as connection:
        row = connection.execute(last).first()
    return tuple(row) if row is not None else None


def _last_entry_of(copy: Path) -> tuple[object, ...] | None:
    """As `_last_entry`, of a copy of any release."""
    with contextlib.closing(connect_to_read(copy)) as db:
        try:
            row = db.execute("SELECT seq, at_s, kind FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            return ()  # A damaged copy is no reason to make none.
    return tuple(row) if row is not None else None


def _checked(database: Database, *, with_head: bool) -> Found:
    where = database.path if isinstance(database, SqliteDatabase) else database.name
    if isinstance(where, Path) and not _has_data(where):
        return Found(where, 0, "is empty" if where.exists() else "is missing")
    try:
        seal = database.check(with_head=with_head)
    except JournalDamagedError as error:
        return Found(where, 0, error.message)
    except (DivisionsError, *ERRORS) as error:
        return Found(where, 0, str(error))
    return Found(where, seal.writes if seal else 0, "")


def _checked_file(path: Path) -> Found:
    if not _has_data(path):
        return Found(path, 0, "is empty" if path.exists() else "is missing")
    return _checked(SqliteDatabase(path), with_head=False)


def _has_data(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
