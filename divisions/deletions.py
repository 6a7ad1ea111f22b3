"""Customers who are to be forgotten: their ids, by endpoint. No run stores them again.

They are in a file of their own beside the online store, so they outlive a store that was damaged and deleted. There
is one table:

    endpoint TEXT | entity_id TEXT | deleted_at_s REAL
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from divisions.errors import OnlineStoreError

_TIMEOUT_S = 30.0


def deletions_path(store: Path) -> Path:
    """The file that belongs to an online store."""
    return store.with_name("deleted.db")


class Deletions:
    """The list. Each call is one transaction. The file is created by the first deletion.

    Every method raises `OnlineStoreError` if the file cannot be read or written: then nobody knows who was deleted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, endpoint: str, entity_id: str, at_s: float) -> None:
        """Notes a deletion; a second one of the same customer changes nothing."""
        with self._open() as connection:
            connection.execute("INSERT OR IGNORE INTO deleted VALUES (?, ?, ?)", (endpoint, entity_id, at_s))

    def remove(self, endpoint: str, entity_id: str) -> bool:
        """Takes a deletion back; returns whether there was one."""
        if not self._path.exists():
            return False
        with self._open() as connection:
            query = "DELETE FROM deleted WHERE endpoint = ? AND entity_id = ?"
            return connection.execute(query, (endpoint, entity_id)).rowcount > 0

    def of(self, endpoint: str) -> dict[str, float]:
        """The deleted customers of an endpoint, and when each was deleted (seconds since the Unix epoch)."""
        if not self._path.exists():
            return {}
        with self._open() as connection:
            query = "SELECT entity_id, deleted_at_s FROM deleted WHERE endpoint = ?"
            return dict(connection.execute(query, (endpoint,)).fetchall())

    def replace(self, endpoint: str, deleted: Mapping[str, float]) -> None:
        """Makes these the deleted customers of an endpoint."""
        with self._open() as connection:
            connection.execute("DELETE FROM deleted WHERE endpoint = ?", (endpoint,))
            rows = [(endpoint, entity_id, at_s) for entity_id, at_s in deleted.items()]
            connection.executemany("INSERT INTO deleted VALUES (?, ?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_TIMEOUT_S)) as connection, connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS deleted (endpoint TEXT NOT NULL, entity_id TEXT NOT NULL,"
                    " deleted_at_s REAL NOT NULL, PRIMARY KEY (endpoint, entity_id)) WITHOUT ROWID"
                )
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise OnlineStoreError(
                f"the list of deleted customers, {self._path}, cannot be used: {error}",
                remedy="check the disk and its permissions; a damaged file must come from a backup,"
                " or deleted customers would be stored again",
            ) from None
