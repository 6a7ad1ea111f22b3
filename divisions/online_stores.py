"""The online store of a home or of many hosts, behind one protocol: SQLite in the home, or Redis.

`DIVISIONS_ONLINE_STORE` names a Redis; without it the store is a file of the home. Both keep one newest row for each
customer of an endpoint. Readers see a fill whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from divisions.clock import SystemClock
from divisions.deletions import Deletions, deletions_path
from divisions.online_store import OnlineRow, OnlineStoreReader, StoredRow, online_store_path, stored_endpoints
from divisions.online_writer import Filled, OnlineStoreWriter
from divisions.settings import Settings
from divisions.store_url import RedisAddress, parse_store_url


class Reader(Protocol):
    """Looks up features of one endpoint's customers. For one thread.

    Every method raises `OnlineStoreError` if the store cannot be read; `get` and `get_many` also if nobody is stored.
    """

    def get(self, entity_id: str) -> bytes | None:
        """A JSON object of raw values by feature name (null for missing), or None for an unknown customer."""

    def get_many(self, entity_ids: Sequence[str]) -> dict[str, StoredRow]:
        """The rows of several customers; unknown ones are absent."""

    def first(self) -> tuple[str, bytes] | None:
        """A customer and its features; None if nobody is stored. For examples."""

    def close(self) -> None: ...


class Writer(Protocol):
    """Writes one endpoint's features. Every method raises `OnlineStoreError` if the store cannot be written."""

    def fill(self, batches: Iterable[Sequence[StoredRow]]) -> Filled:
        """Stores rows. A row replaces the stored row of its customer unless that is newer. Deleted customers are left
        out. Readers see the rows before it or those after it; a fill that fails changes nothing."""

    def upsert(self, rows: Iterable[OnlineRow]) -> int:
        """The same for few rows of Python values; returns the number of customers that have changed."""

    def delete(self, entity_id: str, at_s: float) -> bool:
        """Removes a customer for good: no fill stores it again. Returns whether it was stored.

        Args:
            at_s: now, in seconds since the Unix epoch.
        """

    def expire(self, before_s: float) -> int:
        """Removes the customers whose event time is before ``before_s``; returns how many."""

    def close(self) -> None: ...


class DeletedCustomers(Protocol):
    """Who is to be forgotten. Every method raises `OnlineStoreError` if the list cannot be used."""

    def of(self, endpoint: str) -> dict[str, float]:
        """The deleted customers of an endpoint, and when each was deleted (seconds since the Unix epoch)."""

    def remove(self, endpoint: str, entity_id: str) -> bool:
        """Takes a deletion back; returns whether there was one."""


class OnlineStore(Protocol):
    """An online store. ``str`` of it is its place as errors name it, without a password."""

    def reader(self, endpoint: str) -> Reader: ...

    def writer(self, endpoint: str, on_wait: Callable[[], None] = ...) -> Writer:
        """Writes an endpoint's rows. ``on_wait`` is called once if another writer is at work and must be waited for."""

    def deletions(self) -> DeletedCustomers: ...

    def endpoints(self) -> tuple[str, ...]:
        """The endpoints that the store has rows of, or had.

        Raises:
            OnlineStoreError: the store cannot be read.
        """


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """A file of the home, for gateways of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def reader(self, endpoint: str) -> Reader:
        return OnlineStoreReader(self.path, endpoint)

    def writer(self, endpoint: str, on_wait: Callable[[], None] = lambda: None) -> Writer:
        return OnlineStoreWriter(self.path, endpoint, on_wait)

    def deletions(self) -> DeletedCustomers:
        return Deletions(deletions_path(self.path))

    def endpoints(self) -> tuple[str, ...]:
        return stored_endpoints(self.path)


@dataclass(frozen=True, slots=True)
class RedisStore:
    """A Redis or Valkey server, for gateways of any machine. ``home`` has a copy of the list of deleted customers."""

    address: RedisAddress
    home: Path

    def __str__(self) -> str:
        return str(self.address)

    def reader(self, endpoint: str) -> Reader:
        from divisions.redis_store.reader import RedisReader

        return RedisReader(self.address, endpoint)

    def writer(self, endpoint: str, on_wait: Callable[[], None] = lambda: None) -> Writer:
        from divisions.redis_store.connection import Connection
        from divisions.redis_store.deletions import RedisDeletions
        from divisions.redis_store.writer import RedisWriter

        connection = Connection(self.address, "written")
        deletions = RedisDeletions(connection, self._copy(), SystemClock())
        return RedisWriter(self.address, connection, endpoint, deletions, on_wait)

    def deletions(self) -> DeletedCustomers:
        from divisions.redis_store.connection import Connection
        from divisions.redis_store.deletions import RedisDeletions

        return RedisDeletions(Connection(self.address, "used"), self._copy(), SystemClock())

    def endpoints(self) -> tuple[str, ...]:
        from divisions.redis_store.reader import filled_endpoints

        return filled_endpoints(self.address)

    def _copy(self) -> Deletions:
        return Deletions(deletions_path(online_store_path(self.home)))


def open_store(settings: Settings) -> OnlineStore:
    """The store that the settings name. Nothing is connected yet.

    Raises:
        SettingsError: ``DIVISIONS_ONLINE_STORE`` is malformed.
    """
    if settings.online_store:
        return RedisStore(parse_store_url(settings.online_store), settings.home)
    return SqliteStore(online_store_path(settings.home))
