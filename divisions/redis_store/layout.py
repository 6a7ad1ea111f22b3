"""What the online store keeps in Redis, and how a look-up reads it. Pure.

==============================================  =========================================================
key                                             value
==============================================  =========================================================
``divisions:online:endpoints``                  set of endpoints that were filled
``divisions:online:{churn}:layers``             names of one or two layers, the newer one first
``divisions:online:{churn}:rows:<layer>``       hash: entity to row
``divisions:online:{churn}:deleted``            hash: entity to the time of its deletion, or minus that of its return
``divisions:online:{churn}:lock``               token of the writer that changes layers
==============================================  =========================================================

A row is its event time (big-endian float64, seconds since the Unix epoch) and the JSON object of its features.

A fill writes a layer that nobody reads yet. Then one command puts its name in front of the layer that is read, so that
readers see all of the fill or nothing. Of two layers a reader takes the newer row of a customer, and of equally old
ones that of the newer layer. So it sees the same while the writer merges one layer into the other, in small steps. In
the end there is one layer again. A writer that dies in between leaves two, and the next one finishes its work.

A look-up asks for its rows by the layers that it knows, and then for the names of the layers, in one pipeline. A layer
never has the name of an earlier one. So if the names are those that it knows, they were so all the time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

from divisions.errors import OnlineStoreError, StoreUnavailableError
from divisions.names import NAME_RULE, is_name
from divisions.online_store import StoredRow, empty_store
from divisions.redis_store.resp import ErrorReply, Reply, encode

ENDPOINTS: Final = b"divisions:online:endpoints"
MAX_LAYERS: Final = 2
_TIME: Final = struct.Struct(">d")


def prefix_of(endpoint: str) -> bytes:
    """What the keys of an endpoint begin with. The braces keep them on one node of a Redis Cluster.

    Raises:
        OnlineStoreError: no endpoint can have that name.
    """
    if not is_name(endpoint):
        raise OnlineStoreError(f"{endpoint!r} is not an endpoint's name", remedy=f"use {NAME_RULE}")
    return b"divisions:online:{%b}:" % endpoint.encode()


def pack_row(features_json: bytes, event_time_s: float) -> bytes:
    return _TIME.pack(event_time_s) + features_json


def unpack_row(entity_id: str, row: bytes) -> StoredRow:
    """A stored row. One that is damaged has no features, which costs only requests for this customer."""
    if len(row) < _TIME.size:
        return entity_id, b"", math.inf
    (event_time_s,) = _TIME.unpack_from(row)
    return entity_id, row[_TIME.size :], event_time_s


def encode_ids(entity_ids: Sequence[str]) -> list[bytes]:
    """Ids as they are stored. An id with half of a surrogate pair is no stored customer's, and stays unknown."""
    return [each.encode(errors="surrogatepass") for each in entity_ids]


class RowQuery:
    """The pipeline that reads rows of some customers: what is sent, and what the replies say.

    Args:
        prefix: of the endpoint, see `prefix_of`.
        layers: the layers as they are known; none if they are not known yet.
        entity_ids: the customers.
    """

    __slots__ = ("_entity_ids", "_layers", "_prefix", "layers", "num_replies")

    def __init__(self, prefix: bytes, layers: Sequence[bytes], entity_ids: Sequence[str]) -> None:
        self._prefix = prefix
        self._layers = tuple(layers)
        self._entity_ids = entity_ids
        self.num_replies = len(self._layers) + 2 if self._layers else 1
        self.layers = self._layers
        """After `read`: the layers as they are."""

    def encode(self) -> bytes:
        names = encode([b"GET", self._prefix + b"layers"])
        if not self._layers:
            return names
        keys = [b"%brows:%b" % (self._prefix, layer) for layer in self._layers]
        ids = encode_ids(self._entity_ids)
        rows = [encode([b"HMGET", key, *ids]) for key in keys]
        return b"".join([*rows, encode([b"EXISTS", *keys]), names])

    def read(self, replies: Sequence[Reply]) -> dict[str, StoredRow] | None:
        """The rows that were found by entity; None if ``layers`` are others now and the query must be asked again.

        Raises:
            OnlineStoreError: the server refused, its values are damaged, or it has no customers of the endpoint.
        """
        for reply in replies:
            if isinstance(reply, ErrorReply):
                raise refused(reply)
        self.layers = read_layers(replies[-1])
        if not self.layers:
            raise empty_store()
        if self.layers != self._layers:
            return None
        if replies[-2] == 0:
            raise empty_store()
        found = self._rows(replies[0])
        for reply in replies[1:-2]:
            for entity_id, row in self._rows(reply).items():
                newer = found.get(entity_id)
                if newer is None or row[2] > newer[2]:
                    found[entity_id] = row
        return found

    def _rows(self, reply: Reply) -> dict[str, StoredRow]:
        if not isinstance(reply, list) or len(reply) != len(self._entity_ids):
            raise damaged()
        found: dict[str, StoredRow] = {}
        for entity_id, row in zip(self._entity_ids, reply, strict=True):
            if isinstance(row, bytes):
                found[entity_id] = unpack_row(entity_id, row)
        return found


def read_layers(reply: Reply) -> tuple[bytes, ...]:
    """The layers that a value names, the newer one first.

    Raises:
        OnlineStoreError: it is no such value.
    """
    if reply is None:
        return ()
    layers = tuple(reply.split(b" ")) if isinstance(reply, bytes) else ()
    if not 1 <= len(layers) <= MAX_LAYERS or not all(len(layer) == 16 and layer.isalnum() for layer in layers):
        raise damaged()
    return layers


def damaged() -> OnlineStoreError:
    return OnlineStoreError(
        "the online store has values that are not of Divisions",
        remedy="give it a database of its own, or run the pipeline again after `divisions features` was asked",
    )


def refused(reply: ErrorReply) -> StoreUnavailableError:
    """An error that callers without a token may read: the server's word, not its text."""
    return StoreUnavailableError(
        f"the online store refused: {reply.code[:32]}", remedy="the log of Redis or Valkey has the reason"
    )
