"""Looks up features in Redis and waits for them: for commands and checks. Gateways do not wait."""

from __future__ import annotations

from collections.abc import Sequence

from divisions.errors import OnlineStoreError
from divisions.online_store import StoredRow
from divisions.redis_store.connection import Connection
from divisions.redis_store.handshake import refusal
from divisions.redis_store.layout import ENDPOINTS, RowQuery, damaged, prefix_of, read_layers
from divisions.redis_store.resp import ErrorReply
from divisions.store_url import RedisAddress

_MOST_TRIES = 10
"""Each further try is due to a fill that has begun or ended since."""


class RedisReader:
    """Reads one endpoint. A `divisions.online_stores.Reader`."""

    def __init__(self, address: RedisAddress, endpoint: str) -> None:
        self._address = address
        self._prefix = prefix_of(endpoint)
        self._connection = Connection(address, "read")
        self._layers: tuple[bytes, ...] = ()

    def get(self, entity_id: str) -> bytes | None:
        row = self.get_many((entity_id,)).get(entity_id)
        return None if row is None else row[1]

    def get_many(self, entity_ids: Sequence[str]) -> dict[str, StoredRow]:
        for _ in range(_MOST_TRIES):
            query = RowQuery(self._prefix, self._layers, entity_ids)
            replies = self._connection.pipeline([query.encode()], query.num_replies)
            for reply in replies:
                if isinstance(reply, ErrorReply):
                    raise refusal(self._address, "read", reply)
            try:
                found = query.read(replies)
            finally:
                self._layers = query.layers
            if found is not None:
                return found
        raise OnlineStoreError(f"the online store {self._address} changes all the time", remedy="try again")

    def first(self) -> tuple[str, bytes] | None:
        for layer in read_layers(self._connection.call(b"GET", self._prefix + b"layers")):
            cursor = b"0"
            while True:
                match self._connection.call(b"HSCAN", self._prefix + b"rows:" + layer, cursor, b"COUNT", b"1"):
                    case [bytes(cursor), [bytes(entity), *_]]:
                        name = entity.decode()
                        row = self.get_many((name,)).get(name)
                        if row is not None:
                            return name, row[1]
                    case [bytes(cursor), []]:
                        pass
                    case _:
                        raise damaged()
                if cursor == b"0":
                    break
        return None

    def close(self) -> None:
        self._connection.close()


def filled_endpoints(address: RedisAddress) -> tuple[str, ...]:
    """The endpoints that the store has rows of, or had.

    Raises:
        OnlineStoreError: the store cannot be read.
    """
    connection = Connection(address, "read")
    try:
        reply = connection.call(b"SMEMBERS", ENDPOINTS)
        if not isinstance(reply, list) or not all(isinstance(each, bytes) for each in reply):
            raise damaged()
        return tuple(sorted(each.decode(errors="replace") for each in reply if isinstance(each, bytes)))
    finally:
        connection.close()
