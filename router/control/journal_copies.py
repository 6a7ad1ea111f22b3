"""Copies of the journal in the home folder: made after every decision, a bounded number, checked; and the way back.

A copy is one file, ``journal-copies/journal-<number of writes>.db``. It has all checksums, so it can be checked without
``journal.head``.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from divisions.errors import ClusterError, JournalDamagedError
from router.control.journal_file import COPIES, connect_to_read, head_of, verify_alone, verify_file

COPY_S = 30.0
"""How often the controller looks whether there are new entries."""
MAX_COPIES = 12
"""A rollout has about ten entries, in bursts; so this is the last rollout or two, and what was before them."""
_FILES = ("journal.db", "journal.db-wal", "journal.db-shm", "journal.head")


@dataclass(frozen=True, slots=True)
class Found:
    """A journal or a copy, as a check finds it. ``fault`` is empty if it is whole; without checksums ``writes`` is
    0."""

    path: Path
    writes: int
    fault: str


def make_copy(journal: Path) -> Path | None:
    """Copies the journal while it is in use; returns the copy, or None if there is no new entry since the last one.

    Evidence, epochs and starts are no reason for a copy.

    Raises:
        sqlite3.Error: the journal cannot be read, or the copy cannot be written.
        OSError: the folder cannot be written.
        JournalDamagedError: the copy is not whole, and was thrown away.
    """
    folder = journal.parent / COPIES
    newest = max(folder.glob("journal-*.db"), default=None)
    if _num_entries(journal) == (_num_entries(newest) if newest else 0):
        return None
    folder.mkdir(mode=0o700, exist_ok=True)
    new = folder / "new"
    new.unlink(missing_ok=True)
    try:
        _copy(journal, new)
        seal = verify_alone(new)
        target = folder / f"journal-{seal.writes if seal else 0:012d}.db"
        new.chmod(0o600)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
    for old in sorted(folder.glob("journal-*.db"))[:-MAX_COPIES]:
        old.unlink()
    return target


def check(home: Path) -> list[Found]:
    """The journal, which comes first, and its copies, newest first."""
    journal = home / "journal.db"
    for _ in range(3):  # A controller that runs may write between the journal and its head.
        found = [_checked(journal, with_head=True)]
        if not found[0].fault:
            break
    return found + [
        _checked(copy, with_head=False) for copy in sorted(home.glob(f"{COPIES}/journal-*.db"), reverse=True)
    ]


def restore(home: Path, aside: str, copy: Path | None = None) -> Found:
    """Puts a copy in the journal's place, and moves what is there into the folder ``aside``; returns what it took.

    Args:
        home: the home folder; no controller runs on it.
        aside: name of a new folder in it.
        copy: which copy; None takes the whole one with the most writes. That may be the journal itself, if only its
            head or its write-ahead log is damaged.

    Raises:
        ClusterError: there is no whole copy, or the one that was asked for is not whole.
    """
    journal = home / "journal.db"
    own = _checked(journal, with_head=False)
    candidates = [_checked(copy, with_head=False)] if copy is not None else [own, *check(home)[1:]]
    whole = [found for found in candidates if not found.fault]
    if not whole:
        what = (
            f"the copy {copy} is not whole: {candidates[0].fault}" if copy else "no whole copy of the journal is left"
        )
        raise ClusterError(what, remedy="`divisions journal check` lists the copies")
    chosen = max(whole, key=lambda found: found.writes)
    folder = home / aside
    folder.mkdir(mode=0o700)
    try:
        _copy(chosen.path, folder / "restored.db")
        seal = verify_alone(folder / "restored.db")
    except (sqlite3.Error, OSError) as error:
        shutil.rmtree(folder)
        raise ClusterError(f"{chosen.path} cannot be copied: {error}", remedy="free space on the disk") from None
    for name in _FILES:
        with contextlib.suppress(FileNotFoundError):
            (home / name).rename(folder / name)
    (folder / "restored.db").rename(journal)
    journal.chmod(0o600)
    if seal is not None:
        head_of(journal).write(seal)
    return chosen


def _num_entries(path: Path) -> int:
    with contextlib.closing(connect_to_read(path)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM journal").fetchone()[0])
        except sqlite3.DatabaseError:
            return -1  # A damaged copy is no reason to make none.


def _copy(source: Path, target: Path) -> None:
    with (
        contextlib.closing(connect_to_read(source)) as db,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        db.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a write-ahead log beside it


def _checked(path: Path, *, with_head: bool) -> Found:
    if not path.exists() or not path.stat().st_size:
        return Found(path, 0, "is empty" if path.exists() else "is missing")
    try:
        seal = verify_file(path) if with_head else verify_alone(path)
    except JournalDamagedError as error:
        return Found(path, 0, error.message)
    except (ClusterError, sqlite3.Error) as error:
        return Found(path, 0, str(error))
    return Found(path, seal.writes if seal else 0, "")
