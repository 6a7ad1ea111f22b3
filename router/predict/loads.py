"""What this gateway asks of every version, by the second: the controller scales by it. Read once a second; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from divisions.reports import VersionLoad
from router.predict.endpoint import Endpoint
from router.predict.pool import Pool


class _Counts(NamedTuple):
    rows: int = 0
    batches: int = 0
    refused: int = 0


class LoadMeter:
    """Differences of the pools' running counts, from one report to the next."""

    def __init__(self, now_s: float) -> None:
        self._read_s = now_s
        self._before: dict[str, _Counts] = {}

    def take(self, endpoints: Iterable[Endpoint], now_s: float) -> tuple[tuple[VersionLoad, ...], float]:
        """The loads since the last call, and the seconds that passed."""
        span_s, self._read_s = now_s - self._read_s, now_s
        pools = {pool.spec.app_name: pool for endpoint in endpoints for pool in endpoint.pools}
        counts = {name: _counts(pool) for name, pool in pools.items()}
        loads = tuple(_load(pools[name], counts[name], self._before.get(name, _Counts())) for name in sorted(pools))
        self._before = counts
        return loads, max(span_s, 0.0)


def _counts(pool: Pool) -> _Counts:
    tally = pool.tally
    return _Counts(tally.rows, tally.batches, tally.refused)


def _load(pool: Pool, now: _Counts, before: _Counts) -> VersionLoad:
    # A version that left the table and came back counts from zero again.
    since = before if now.batches >= before.batches and now.refused >= before.refused else _Counts()
    return VersionLoad(
        app_name=pool.spec.app_name,
        rows=now.rows - since.rows,
        batches=now.batches - since.batches,
        refused=now.refused - since.refused,
        queued=pool.queue.rows,
        intercept_s=pool.service_time.intercept_s,
        slope_s=pool.service_time.slope_s,
        channels=pool.ready_channels,
    )
