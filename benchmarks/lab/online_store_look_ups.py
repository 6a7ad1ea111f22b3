"""What a look-up costs a gateway: its own code on its own kind of loop, over SQLite and over Redis.

The baseline for Redis is its own client for asyncio, which is asked for the same customers, one command a request.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import uvloop

from divisions.clock import SystemClock
from divisions.errors import DivisionsError
from divisions.redis_store.connection import Connection
from divisions.redis_store.layout import prefix_of, read_layers
from divisions.settings import Settings
from divisions.store_url import parse_store_url
from router.gateway.lifecycle import feature_source
from router.predict.stored_features import FeatureSource, LookUp

SHAPES = ((1, 1), (16, 1), (64, 1), (1, 128))
"""Requests at a time, and customers of each."""
ROUNDS = 5
KEYS_PER_ROUND = 4_000

Ask = Callable[[Sequence[str]], Awaitable[int]]
"""Looks up customers; returns how many were found."""


class LookUpCost(msgspec.Struct, frozen=True):
    """CPU time of the gateway's process for one customer, in microseconds; the median of rounds."""

    store: str
    requests: int
    customers: int
    cpu_us: float


class _Request(LookUp):
    def __init__(self, endpoint: str, keys: Sequence[str], done: asyncio.Future[int], give_up_s: float) -> None:
        super().__init__(endpoint, keys, give_up_s)
        self._done = done
        self._found = 0

    def found(self, key: str, stored: tuple[str, bytes, float] | None) -> None:
        self._found += stored is not None

    def complete(self) -> None:
        self._done.set_result(self._found)

    def failed(self, error: DivisionsError) -> None:
        self._done.set_exception(error)


def measure_look_ups(home: Path, url: str, endpoint: str, customers: int, seed: int) -> list[LookUpCost]:
    """Measures a filled SQLite store in ``home``, and with a URL a filled Redis, in interleaved rounds."""
    return uvloop.run(_measure(home, url, endpoint, customers, seed))


async def _measure(home: Path, url: str, endpoint: str, customers: int, seed: int) -> list[LookUpCost]:
    asks: dict[str, Ask] = {"SQLite": _ours(home, "", endpoint)}
    if url:
        asks["Redis"] = _ours(home, url, endpoint)
        asks["Redis, by redis-py"] = _theirs(url, endpoint)
    order = random.Random(seed)  # a seeded benchmark
    names = [f"c-{order.randrange(customers)}" for _ in range(KEYS_PER_ROUND)]
    for ask in asks.values():
        await ask(names[:8])
    costs = []
    for requests, keys in SHAPES:
        taken: dict[str, list[float]] = {store: [] for store in asks}
        for _ in range(ROUNDS):
            for store, ask in asks.items():
                began_s = time.process_time()
                await _round(ask, names, requests, keys)
                taken[store].append((time.process_time() - began_s) / len(names) * 1e6)
        costs += [
            LookUpCost(store, requests, keys, round(sorted(each)[ROUNDS // 2], 2)) for store, each in taken.items()
        ]
    return costs


async def _round(ask: Ask, names: Sequence[str], requests: int, keys: int) -> None:
    parts = [names[start : start + keys] for start in range(0, len(names), keys)]

    async def ask_in_turn(mine: Sequence[Sequence[str]]) -> int:
        return sum([await ask(part) for part in mine])

    found = await asyncio.gather(*[ask_in_turn(parts[number::requests]) for number in range(requests)])
    if sum(found) != len(names):
        raise RuntimeError(f"{sum(found)} of {len(names)} customers were found")


def _ours(home: Path, url: str, endpoint: str) -> Ask:
    clock = SystemClock()
    source: FeatureSource = feature_source(Settings(home=home, online_store=url), clock)
    source.start()
    loop = asyncio.get_running_loop()

    async def ask(keys: Sequence[str]) -> int:
        done: asyncio.Future[int] = loop.create_future()
        source.look_up(_Request(endpoint, keys, done, clock.monotonic_s() + 30.0))
        return await done

    return ask


def _theirs(url: str, endpoint: str) -> Ask:
    import redis.asyncio

    prefix, connection = prefix_of(endpoint), Connection(parse_store_url(url), "read")
    (layer,) = read_layers(connection.call(b"GET", prefix + b"layers"))
    connection.close()
    key = (prefix + b"rows:" + layer).decode()
    client = redis.asyncio.from_url(url)

    async def ask(keys: Sequence[str]) -> int:
        rows = await client.hmget(key, list(keys))
        return sum(row is not None for row in rows)

    return ask
