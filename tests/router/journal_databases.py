"""A journal's database, of both kinds: for a test and its folder always the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from router.journal.database import Database
from router.journal.postgres import PostgresDatabase
from router.journal.sqlite import SqliteDatabase

PATIENCE_S = 60.0
"""A busy machine's disk may hold up a commit for seconds. Tests of slow servers have databases of their own."""
KINDS = ("sqlite", "postgresql")
MakeDatabase = Callable[[Path], Database]


def sqlite_database(folder: Path) -> Database:
    """In a file of the folder. These tests kill the process, not the machine: waiting for the disk would only make
    them slow."""
    return SqliteDatabase(folder / "journal.db", is_synchronous=False)


def postgres_databases(url: str) -> MakeDatabase:
    """In a schema for each folder."""

    def make(folder: Path) -> Database:
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:20]
        return PostgresDatabase(f"{url}?schema=s{name}", folder, write_s=PATIENCE_S)

    return make


def make_for(kind: str, request: pytest.FixtureRequest) -> MakeDatabase:
    """The kind's; PostgreSQL starts with the first test that asks, and one database serves the whole session."""
    return sqlite_database if kind == "sqlite" else postgres_databases(request.getfixturevalue("journal_database"))
