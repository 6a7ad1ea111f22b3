"""Moves a whole journal from one database into another, row by row: a server's into a file, and back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, insert, select

from router.journal import tables
from router.journal.sqlite import connect_to_read, engine_of


def pour(source: Connection, target: Connection) -> None:
    """Copies all rows into tables that are empty."""
    for table in tables.metadata.sorted_tables:
        rows = [dict(row) for row in source.execute(select(table)).mappings()]
        if rows:
            target.execute(insert(table), rows)


def dump(source: Connection, target: Path) -> None:
    """Copies a journal into a new SQLite file."""
    engine = engine_of(lambda: sqlite3.connect(target, isolation_level=None), "BEGIN")
    with engine.connect() as connection, connection.begin():
        tables.metadata.create_all(connection)
        pour(source, connection)


def load_file(source: Path, target: Connection) -> None:
    """Copies a journal of this release from a SQLite file."""
    with engine_of(lambda: connect_to_read(source), "BEGIN").connect() as connection, connection.begin():
        pour(connection, target)
