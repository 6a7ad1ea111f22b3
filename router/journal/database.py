"""What the journal needs of a database: transactions that end in a bounded time, and a name for messages."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from router.journal.seal import Contents, Head, Seal

ERRORS = (SQLAlchemyError, sqlite3.Error, OSError)
"""What a database raises, SQLAlchemy's or its own."""


class Database(Protocol):
    """One connection for the controller, and as many as it takes to read beside it."""

    name: str
    """For messages: it says which database, and never its password."""
    place: Path
    """The folder of the head and of the copies."""
    remedy: str
    """What to do when it cannot be written."""
    is_shared: bool
    """Whether controllers of other machines may write it: then a live holder is respected, and heads may be older."""

    def head_of(self, contents: Contents) -> Head:
        """The file that repeats the seal of the journal with these contents, outside the database."""
        ...

    def reason(self, error: BaseException) -> str:
        """What the database said, without the statement and without secrets."""
        ...

    def now_s(self, connection: Connection) -> float:
        """The database's clock; 0 where no other machine reads it."""
        ...

    def check(self, *, with_head: bool = True) -> Seal | None:
        """Checks a journal without changing it; returns its seal, or None if there is none yet, or one without
        checksums. Without its head it may be an older one.

        Raises:
            JournalDamagedError: it is damaged, or missing although there was one.
            JournalUnavailableError: the server does not answer.
            ClusterError: it is no journal, or a later release wrote it.
        """
        ...

    def open(self) -> None:
        """Connects for writing after a check; makes the tables, or brings them up to date.

        Raises:
            JournalDamagedError: the journal is damaged, or missing although there was one.
            JournalUnavailableError: the server does not answer.
            ClusterError: another release wrote it, or it cannot be opened.
        """
        ...

    def write(self, limit_s: float | None = None) -> AbstractContextManager[Connection]:
        """A transaction of the controller's connection. It commits at the end, or changes nothing.

        Args:
            limit_s: how long all of it may take; None is the limit for single writes.
        """
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """The controller's connection, for short questions."""
        ...

    def view(self) -> AbstractContextManager[Connection]:
        """A connection of its own that changes nothing and sees one state, for checks and copies."""
        ...

    def copy_to(self, target: Path) -> None:
        """Copies the journal into a new SQLite file, while it is in use."""
        ...

    def replace_by(self, copy: Path, aside: Path) -> None:
        """Puts a whole copy in the journal's place, and what is there into the new folder ``aside``.

        Raises:
            ClusterError: it cannot be copied; nothing has changed.
        """
        ...

    def trust(self) -> None:
        """Takes the journal as it is for the newest: writes its head anew."""
        ...

    def close(self) -> None: ...


def reason(error: BaseException) -> str:
    """What the database said, without the statement."""
    text = " ".join(str(getattr(error, "orig", None) or error).split())
    return text or type(error).__name__
