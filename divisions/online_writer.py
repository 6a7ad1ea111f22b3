"""Writes the online store: fills it, deletes a customer, expires old rows. `divisions.online_store` has its layout.

A fill of any size is one transaction. SQLite writes it into the write-ahead log, so memory is bounded, gateways read
the old rows meanwhile, and a fill that is killed leaves them complete. Writers wait for one another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from divisions.deletions import Deletions, deletions_path
from divisions.online_store import OnlineRow, StoredRow, broken_store, table_of

_PATIENCE_S = 0.5
"""After so long, a writer that waits for another one says so."""
_WAIT_S = 600.0
"""The longest wait for another writer. A fill of ten million customers takes minutes."""
_CACHE_KIB = 65_536
"""Holds the index of a few million customers. Pages that do not fit go to the log early, perhaps more than once."""


@dataclass(frozen=True, slots=True)
class Filled:
    """``num_changed`` customers have other rows now. ``num_left_out`` rows were of deleted customers."""

    num_changed: int
    num_left_out: int = 0


class OnlineStoreWriter:
    """Writes one endpoint's features. Each method is one transaction: readers see all of it, or nothing.

    Every method raises `OnlineStoreError` if the store cannot be written; its rows are then as before.

    Args:
        path: the store's file.
        endpoint: the endpoint's name.
        on_wait: called once if another writer is at work, before this one waits for it.
    """

    def __init__(self, path: Path, endpoint: str, on_wait: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._endpoint = endpoint
        self._table = table_of(endpoint)
        self._deletions = Deletions(deletions_path(path))
        self._on_wait = on_wait

    def fill(self, batches: Iterable[Sequence[StoredRow]]) -> Filled:
        """Stores rows; creates the store if it does not exist.

        A row replaces the stored row of its customer unless the stored row is newer. So a late partition does no
        harm. Rows of deleted customers are left out.
        """
        upsert = (
            f"INSERT INTO {self._table} (entity_id, features, event_time_s) VALUES (?, ?, ?)"
            " ON CONFLICT (entity_id) DO UPDATE SET event_time_s = excluded.event_time_s, features = excluded.features"
            f" WHERE excluded.event_time_s >= {self._table}.event_time_s"
        )
        num_left_out = 0
        with self._transaction() as connection:
            self._create(connection)
            # Read within the transaction: who is deleted later has to wait for its end.
            deleted = self._deletions.of(self._endpoint)
            self._forget(connection, deleted)
            before = connection.total_changes
            for batch in batches:
                rows = [row for row in batch if row[0] not in deleted] if deleted else batch
                num_left_out += len(batch) - len(rows)
                connection.executemany(upsert, rows)
            return Filled(connection.total_changes - before, num_left_out)

    def upsert(self, rows: Iterable[OnlineRow]) -> int:
        """The same for few rows of Python values; returns the number of customers that have changed."""
        encoded = [(row.entity_id, msgspec.json.encode(row.features), row.event_time_s) for row in rows]
        return self.fill([encoded]).num_changed

    def delete(self, entity_id: str, at_s: float) -> bool:
        """Removes a customer for good: no fill stores it again. Returns whether it was stored.

        Args:
            at_s: now, in seconds since the Unix epoch.
        """
        # In this order: if the process dies in between, the next fill removes the row.
        self._deletions.add(self._endpoint, entity_id, at_s)
        with self._transaction(is_erasing=True) as connection:
            self._create(connection)
            return self._forget(connection, (entity_id,)) > 0

    def expire(self, before_s: float) -> int:
        """Removes the customers whose event time is before ``before_s``; returns how many."""
        with self._transaction(is_erasing=True) as connection:
            self._create(connection)
            return connection.execute(f"DELETE FROM {self._table} WHERE event_time_s < ?", (before_s,)).rowcount

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} (entity_id TEXT PRIMARY KEY,"
            " event_time_s REAL NOT NULL, features BLOB NOT NULL)"
        )

    def _forget(self, connection: sqlite3.Connection, entity_ids: Iterable[str]) -> int:
        delete = f"DELETE FROM {self._table} WHERE entity_id = ?"
        return connection.executemany(delete, [(each,) for each in entity_ids]).rowcount

    @contextmanager
    def _transaction(self, *, is_erasing: bool = False) -> Iterator[sqlite3.Connection]:
        """Begins and commits. After an exception, closing rolls back.

        Args:
            is_erasing: whether deleted rows are overwritten in the file, too.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_PATIENCE_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
                connection.execute(f"PRAGMA secure_delete={int(is_erasing)}")
                self._begin(connection)
                yield connection
                connection.execute("COMMIT")
                # Into the file, and the log to length 0. It waits for nobody: what cannot be done now is done later.
                connection.execute(f"PRAGMA busy_timeout={int(_PATIENCE_S * 1_000)}")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
            raise broken_store(self._path, "written", error) from None

    def _begin(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            self._on_wait()
            connection.execute(f"PRAGMA busy_timeout={int(_WAIT_S * 1_000)}")
            connection.execute("BEGIN IMMEDIATE")
