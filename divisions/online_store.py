"""The online feature store: the latest raw features of each customer, in SQLite.

Trainers write it, and gateways read it. There is one table per endpoint:

    entity_id TEXT PRIMARY KEY | event_time_s REAL | features BLOB: JSON object, raw value by feature name

It holds raw values, not encoded ones. Two versions of an endpoint may encode them differently and still share the
store. The write-ahead log lets gateways read while a run writes. A look-up reads complete transactions only.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from divisions.errors import OnlineStoreError
from divisions.names import NAME_RULE, is_name

log = logging.getLogger(__name__)

_PREFIX = "online:"
_READ_TIMEOUT_S = 0.05
"""A reader of a write-ahead log rarely waits. If it must (log recovery), a request cannot wait long."""


StoredRow = tuple[str, bytes, float]
"""Entity, the JSON object of its features, and their event time in seconds since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """One customer's features as of ``event_time_s`` (seconds since the Unix epoch)."""

    entity_id: str
    event_time_s: float
    features: Mapping[str, object]


def online_store_path(home: Path) -> Path:
    return home / "features" / "online.db"


class OnlineStoreReader:
    """Looks up features of customers. For one thread.

    A store without any customer is an error, not an unknown customer: it was never filled, or it was emptied.
    """

    def __init__(self, path: Path, endpoint: str) -> None:
        self._path = path
        self._query = f"SELECT entity_id, features, event_time_s FROM {table_of(endpoint)} WHERE entity_id"
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._logged = ""

    def get(self, entity_id: str) -> bytes | None:
        """A JSON object of raw values by feature name (null for missing), or None for an unknown customer.

        Raises:
            OnlineStoreError: the store cannot be read, or has no customers at all.
        """
        row = self.get_many((entity_id,)).get(entity_id)
        return None if row is None else row[1]

    def get_many(self, entity_ids: Sequence[str]) -> dict[str, StoredRow]:
        """The rows of several customers, in one query; unknown ones are absent.

        Raises:
            OnlineStoreError: the store cannot be read, or has no customers at all.
        """
        if self._connection is not None and self._file_id() != self._opened:
            self.close()  # the file was replaced; the open one would be read for ever
        connection = self._connection or self._open()
        if connection is None:
            raise empty_store()
        try:
            # fetchall finishes the statement. An unfinished one would keep reading an old state of the store.
            places = ",".join("?" * len(entity_ids))
            rows = connection.execute(f"{self._query} IN ({places})", tuple(entity_ids)).fetchall()
            found: dict[str, StoredRow] = {row[0]: row for row in rows}
            if not found and not connection.execute(f"{self._query} IS NOT NULL LIMIT 1").fetchall():
                raise empty_store()
            return found
        except UnicodeEncodeError:
            return self._get_encodable(entity_ids)
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise empty_store() from None
            self.close()
            raise self._unreadable("read", error) from None
        except sqlite3.Error as error:
            self.close()
            raise self._unreadable("read", error) from None

    def _get_encodable(self, entity_ids: Sequence[str]) -> dict[str, StoredRow]:
        """Leaves out ids with half of a surrogate pair: no stored customer has such a name."""
        encodable = [each for each in entity_ids if not any("\ud800" <= character <= "\udfff" for character in each)]
        return self.get_many(encodable) if encodable else {}

    def first(self) -> tuple[str, bytes] | None:
        """The first customer and its features; None if the store is empty. For examples."""
        connection = self._connection or self._open()
        if connection is None:
            return None
        try:
            query = self._query.partition(" WHERE ")[0]
            found = connection.execute(f"{query} ORDER BY entity_id LIMIT 1").fetchall()
        except sqlite3.Error:
            return None
        return (found[0][0], found[0][1]) if found else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _file_id(self) -> tuple[int, int] | None:
        """Device and inode of the store's file; None without a file."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> sqlite3.Connection | None:
        self._opened = self._file_id()
        if self._opened is None:
            return None
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, timeout=_READ_TIMEOUT_S, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unreadable("opened", error) from None
        return self._connection

    def _unreadable(self, verb: str, error: Exception) -> OnlineStoreError:
        """An error without the path, which callers without a token must not read. The log has it, once a reason."""
        reason = str(broken_store(self._path, verb, error))
        if reason != self._logged:
            self._logged = reason
            log.error("%s", reason)
        return OnlineStoreError(f"the online store cannot be {verb}", remedy="the gateway's log has the reason")


def stored_endpoints(path: Path) -> tuple[str, ...]:
    """The endpoints that a store has rows of, or had.

    Raises:
        OnlineStoreError: the store cannot be read.
    """
    if not path.exists():
        return ()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error as error:
        raise broken_store(path, "read", error) from None
    return tuple(sorted(name.removeprefix(_PREFIX) for (name,) in names if name.startswith(_PREFIX)))


def newest_event_s(path: Path, endpoint: str, places: Sequence[float]) -> float | None:
    """The newest event time among sampled customers of an endpoint; None if it has none.

    Args:
        path: the store's file.
        endpoint: the endpoint's name.
        places: where in the table to look, from 0 to 1. A scan of the whole table would read gigabytes.

    Raises:
        OnlineStoreError: the store cannot be read.
    """
    table = table_of(endpoint)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            ((last,),) = connection.execute(f"SELECT max(rowid) FROM {table}").fetchall()
            if last is None:
                return None
            query = f"SELECT event_time_s FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"
            found = [connection.execute(query, (math.ceil(place * last),)).fetchone() for place in (*places, 1.0)]
    except sqlite3.Error as error:
        raise broken_store(path, "read", error) from None
    return max((row[0] for row in found if row is not None), default=None)


def empty_store() -> OnlineStoreError:
    """Nobody of an endpoint is stored: it was never filled, or it was emptied."""
    return OnlineStoreError(
        "the online store has no customers of this endpoint",
        remedy="send `features`; a run with a rollout fills the store, and so does `divisions rollout start`",
    )


def table_of(endpoint: str) -> str:
    if not is_name(endpoint):
        raise OnlineStoreError(f"{endpoint!r} is not an endpoint's name", remedy=f"use {NAME_RULE}")
    return f'"{_PREFIX}{endpoint}"'


def broken_store(path: Path, verb: str, error: Exception) -> OnlineStoreError:
    return OnlineStoreError(
        f"the online store {path} cannot be {verb}: {error}",
        remedy="check the disk and its permissions; if the file is damaged, delete it and run the pipeline again",
    )
