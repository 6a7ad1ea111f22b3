"""Writes the online store in Redis: fills it, deletes a customer, expires old rows. `layout` says how readers see it.

A fill is staged in a layer of its own, without holding up other writers. The lock is held from the commit to the end of
the merge. A lock that its writer does not renew ends by itself, and so does a layer that its writer has left behind.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import msgspec

from divisions.errors import OnlineStoreError
from divisions.online_store import OnlineRow, StoredRow
from divisions.online_writer import Filled
from divisions.redis_store.connection import Connection
from divisions.redis_store.deletions import RedisDeletions
from divisions.redis_store.handshake import refusal
from divisions.redis_store.layout import ENDPOINTS, damaged, pack_row, prefix_of, read_layers
from divisions.redis_store.resp import ErrorReply, Reply, encode
from divisions.redis_store.scripts import COMMIT, EXPIRE, FINISH, MERGE, STAGE, UNLOCK
from divisions.store_url import RedisAddress

_ROWS_PER_STEP = 250
"""A step of so many rows takes the server about a millisecond, in which it answers nobody else."""
_STEPS_AHEAD = 8
_STAGED_S = 600
"""How long a layer stays that nobody has committed or added to."""
_LOCK_MS = 30_000
_PATIENCE_S = 0.5
"""After so long, a writer that waits for another one says so."""
_WAIT_S = 600.0
_POLL_S = 0.05


@dataclass(slots=True)
class _Merged:
    """What a merge did. ``num_older`` rows of the older layer were newer than those of the newer one."""

    is_into_older: bool = False
    num_won: int = 0
    num_older: int = 0


class RedisWriter:
    """Writes one endpoint's features. A `divisions.online_stores.Writer`.

    Every method raises `OnlineStoreError` if the store cannot be written.

    Args:
        address: the server, for errors.
        connection: to it.
        endpoint: the endpoint's name.
        deletions: the customers who are to be forgotten, by the same connection.
        on_wait: called once if another writer is at work, before this one waits for it.
    """

    def __init__(
        self,
        address: RedisAddress,
        connection: Connection,
        endpoint: str,
        deletions: RedisDeletions,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._endpoint = endpoint
        self._prefix = prefix_of(endpoint)
        self._deletions = deletions
        self._connection = connection
        self._on_wait = on_wait

    def fill(self, batches: Iterable[Sequence[StoredRow]]) -> Filled:
        self._refuse_eviction()
        layer = secrets.token_hex(8).encode()
        try:
            num_staged = self._stage(layer, batches)
            with self._locked() as token:
                self._merge(token)  # the work of a writer that died
                self._deletions.exchange(self._endpoint)
                num_left_out, num_rows = self._pair(self._step(COMMIT, token, layer, b"%d" % num_staged))
                self._connection.call(b"SADD", ENDPOINTS, self._endpoint.encode())
                merged = self._merge(token)
        except BaseException:
            self._discard(layer)
            raise
        num_changed = merged.num_won if merged.is_into_older else num_rows - merged.num_older
        return Filled(num_changed, num_left_out)

    def upsert(self, rows: Iterable[OnlineRow]) -> int:
        encoded = [(row.entity_id, msgspec.json.encode(row.features), row.event_time_s) for row in rows]
        return self.fill([encoded]).num_changed

    def delete(self, entity_id: str, at_s: float) -> bool:
        return self._deletions.add(self._endpoint, entity_id, at_s)

    def expire(self, before_s: float) -> int:
        num_expired = 0
        with self._locked() as token:
            self._merge(token)
            for layer in self._layers():
                cursor = b"0"
                while True:
                    count = b"%d" % _ROWS_PER_STEP
                    match self._step(EXPIRE, token, layer, cursor, count, b"%r" % before_s):
                        case [bytes(cursor), int(num_removed)]:
                            num_expired += num_removed
                        case _:
                            raise damaged()
                    if cursor == b"0":
                        break
        return num_expired

    def close(self) -> None:
        self._connection.close()

    def _discard(self, layer: bytes) -> None:
        """Removes a layer, unless it was committed: then readers have it."""
        self._connection.settle()
        with suppress(OnlineStoreError):
            if layer not in self._layers():
                self._connection.call(b"UNLINK", self._prefix + b"rows:" + layer)

    def _stage(self, layer: bytes, batches: Iterable[Sequence[StoredRow]]) -> int:
        """Stores rows in a layer that nobody reads; returns how many customers they are."""
        key = self._prefix + b"rows:" + layer
        keep = encode([b"EXPIRE", key, b"%d" % _STAGED_S])
        ahead = num_staged = 0
        for rows in _steps(batches):
            try:
                parts = [part for name, row in rows.items() for part in (name.encode(), pack_row(row[1], row[2]))]
            except UnicodeEncodeError:
                raise OnlineStoreError("an id is no valid text", remedy="mend the data") from None
            self._connection.send([encode([b"EVAL", STAGE, b"1", self._prefix, layer, *parts]), keep], 2)
            ahead += 1
            if ahead == _STEPS_AHEAD:
                num_staged += self._staged()
                ahead -= 1
        for _ in range(ahead):
            num_staged += self._staged()
        return num_staged

    def _staged(self) -> int:
        num_new, kept = self._connection.receive(2)
        for reply in (num_new, kept):
            if isinstance(reply, ErrorReply):
                raise refusal(self._address, "written", reply)
        if not isinstance(num_new, int):
            raise damaged()
        return num_new

    def _merge(self, token: bytes) -> _Merged:
        """Makes one layer of two: copies the rows of the smaller one that are newer, a few at a time."""
        layers = self._layers()
        if len(layers) < 2:
            return _Merged()
        newer, older = layers
        merged = _Merged(is_into_older=2 * self._num_rows(newer) < self._num_rows(older))
        source, target = (newer, older) if merged.is_into_older else (older, newer)
        cursor, wins_ties = b"0", b"%d" % merged.is_into_older
        while True:
            match self._step(MERGE, token, source, target, cursor, b"%d" % _ROWS_PER_STEP, wins_ties):
                case [bytes(cursor), int(num_won), int(num_older)]:
                    merged.num_won += num_won
                    merged.num_older += num_older
                case _:
                    raise damaged()
            if cursor == b"0":
                break
        self._step(FINISH, token, target, source)
        return merged

    def _step(self, script: bytes, token: bytes, *arguments: bytes) -> Reply:
        return self._connection.call(b"EVAL", script, b"1", self._prefix, token, b"%d" % _LOCK_MS, *arguments)

    def _layers(self) -> tuple[bytes, ...]:
        return read_layers(self._connection.call(b"GET", self._prefix + b"layers"))

    def _num_rows(self, layer: bytes) -> int:
        reply = self._connection.call(b"HLEN", self._prefix + b"rows:" + layer)
        return reply if isinstance(reply, int) else 0

    def _pair(self, reply: Reply) -> tuple[int, int]:
        match reply:
            case [int(first), int(second)]:
                return first, second
        raise damaged()

    @contextmanager
    def _locked(self) -> Iterator[bytes]:
        """Holds the lock of the endpoint's writers; gives its token."""
        token = secrets.token_hex(8).encode()
        self._take_lock(token)
        try:
            yield token
        finally:
            with suppress(OnlineStoreError):  # It ends by itself.
                self._connection.call(b"EVAL", UNLOCK, b"1", self._prefix, token)

    def _take_lock(self, token: bytes) -> None:
        began_s = time.monotonic()
        has_told = False
        while not self._connection.call(b"SET", self._prefix + b"lock", token, b"NX", b"PX", b"%d" % _LOCK_MS):
            waited_s = time.monotonic() - began_s
            if waited_s >= _PATIENCE_S and not has_told:
                self._on_wait()
                has_told = True
            if waited_s >= _WAIT_S:
                raise OnlineStoreError(
                    f"the online store {self._address} is being written by another process", remedy="try again later"
                )
            time.sleep(_POLL_S)

    def _refuse_eviction(self) -> None:
        """A full server that removes keys would remove all customers of an endpoint, or the list of deletions."""
        (reply,) = self._connection.pipeline([encode([b"INFO", b"memory"])], 1)
        if not isinstance(reply, bytes):  # Not every user may ask.
            return
        told = dict(line.split(":", 1) for line in reply.decode(errors="replace").splitlines() if ":" in line)
        policy = told.get("maxmemory_policy", "")
        if told.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
            raise OnlineStoreError(
                f"the online store {self._address} removes keys when it is full (maxmemory-policy {policy})",
                remedy="set maxmemory-policy noeviction: customers and the list of deletions must not vanish",
            )


def _steps(batches: Iterable[Sequence[StoredRow]]) -> Iterator[dict[str, StoredRow]]:
    """Rows by customer, a step's share at a time; of several rows of a customer the newest, and the last of those."""
    step: dict[str, StoredRow] = {}
    for batch in batches:
        for row in batch:
            name, _, at_s = row
            was = step.get(name)
            if was is None or at_s >= was[2]:
                step[name] = row
            if len(step) == _ROWS_PER_STEP:
                yield step
                step = {}
    if step:
        yield step
