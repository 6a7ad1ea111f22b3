"""Traffic over time, from closed seconds: rates and latencies of each version now, and the curve of all together. Pure.

A second is known about two seconds after its end, when all gateways have reported it. Failed requests are in no mean,
and in no quantile that is a time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from divisions.house import Series
from router.evidence.histogram import FINITE_BUCKETS, GROWTH, LOWEST_S, NUM_BUCKETS, Counts, empty, quantile_s
from router.evidence.windows import ClosedTick, RecentCounts, VersionCounts

WINDOW_S: Final = 60
BEFORE_S: Final = 300
"""The mean of the window is compared with that of the seconds before it."""
MIN_COMPARED: Final = 100
"""Requests that either side of the trend needs."""
STEP_S: Final = 5
POINTS: Final = 180
COLUMNS: Final = ("at_s", "requests_per_s", "errors_per_s", "mean_ms", "p50_ms", "p99_ms")

_MIDDLES_MS = np.zeros(NUM_BUCKETS)
_MIDDLES_MS[: FINITE_BUCKETS + 1] = 1_000 * LOWEST_S * GROWTH ** (np.arange(FINITE_BUCKETS + 1) - 0.5)


def mean_ms(counts: Counts) -> float | None:
    """The mean latency of the requests that were answered; None without one."""
    answered = int(counts[: FINITE_BUCKETS + 1].sum())
    return _digits(float(counts @ _MIDDLES_MS) / answered) if answered else None


def quantile_ms(counts: Counts, quantile: float) -> float | None:
    """None without requests, and where the quantile falls among those that failed."""
    found = quantile_s(counts, quantile)
    return _digits(1_000 * found) if math.isfinite(found) else None


def _digits(value: float) -> float:
    """Four digits: the buckets know no more, and a document that does not change need not be sent."""
    return float(f"{value:.4g}")


@dataclass(slots=True)
class _Mean:
    """What a second leaves for the trend: how many were answered, and how long they took in all."""

    tick: int
    answered: int
    total_ms: float


@dataclass
class Traffic:
    """Takes closed seconds in rising order."""

    _recent: dict[tuple[str, str], RecentCounts] = field(default_factory=dict)
    _means: deque[_Mean] = field(default_factory=deque)
    _points: deque[tuple[float | None, ...]] = field(default_factory=lambda: deque(maxlen=POINTS))
    _step: VersionCounts = field(default_factory=VersionCounts)
    _step_number: int | None = None
    _first_tick: int | None = None
    _last_tick: int = 0

    def add(self, closed: ClosedTick, at_s: float) -> None:
        """Takes a second.

        Args:
            closed: all gateways' counts of it.
            at_s: its time by the wall clock.
        """
        tick = closed.tick
        self._first_tick, self._last_tick = self._first_tick if self._first_tick is not None else tick, tick
        everything = VersionCounts()
        for endpoint, versions in closed.endpoints.items():
            for app_name, counts in versions.items():
                recent = self._recent.setdefault((endpoint, app_name), RecentCounts(WINDOW_S))
                recent.add(tick, counts)
                _sum(everything, counts)
        for key in [key for key, recent in self._recent.items() if not recent.total(tick + 1).requests]:
            del self._recent[key]
        answered = int(everything.counts[: FINITE_BUCKETS + 1].sum())
        self._means.append(_Mean(tick, answered, float(everything.counts @ _MIDDLES_MS)))
        while self._means[0].tick <= tick - WINDOW_S - BEFORE_S:
            self._means.popleft()
        self._add_to_step(everything, at_s)

    def _add_to_step(self, counts: VersionCounts, at_s: float) -> None:
        number = int(at_s // STEP_S)
        if self._step_number is not None and number != self._step_number:
            self._points.append(_point(self._step_number * STEP_S, self._step))
            missing = range(self._step_number + 1, min(number, self._step_number + POINTS))
            self._points.extend((float(each * STEP_S), *[None] * (len(COLUMNS) - 1)) for each in missing)
            self._step = VersionCounts()
        self._step_number = number
        _sum(self._step, counts)

    def of(self, endpoint: str, app_name: str) -> VersionCounts | None:
        """A version's counts of the last `WINDOW_S` seconds; None without any. The caller must not change them."""
        recent = self._recent.get((endpoint, app_name))
        return recent.total(self._last_tick + 1) if recent is not None else None

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Endpoint and application of all that have traffic in the window."""
        return tuple(sorted(self._recent))

    @property
    def total(self) -> VersionCounts:
        """All versions' counts of the window."""
        total = VersionCounts(counts=empty())
        for recent in self._recent.values():
            _sum(total, recent.total(self._last_tick + 1))
        return total

    @property
    def seconds(self) -> int:
        """How many seconds of the window are known: fewer than `WINDOW_S` after a start, 0 before the first."""
        return 0 if self._first_tick is None else min(WINDOW_S, self._last_tick - self._first_tick + 1)

    @property
    def before_ms(self) -> float | None:
        """The mean latency of the `BEFORE_S` seconds before the window; None for too few requests to compare with."""
        return self._mean_of([each for each in self._means if each.tick <= self._last_tick - WINDOW_S])

    @property
    def trend(self) -> float | None:
        """By which part the mean latency has changed: -0.12 is 12 % faster; None if that is not known."""
        now = self._mean_of([each for each in self._means if each.tick > self._last_tick - WINDOW_S])
        before = self.before_ms
        return round(now / before - 1, 3) if now is not None and before else None

    @staticmethod
    def _mean_of(means: list[_Mean]) -> float | None:
        answered = sum(each.answered for each in means)
        return _digits(sum(each.total_ms for each in means) / answered) if answered >= MIN_COMPARED else None

    @property
    def history(self) -> Series:
        """The last quarter of an hour, in steps of five seconds."""
        return Series(STEP_S, COLUMNS, tuple(self._points))


def _sum(total: VersionCounts, counts: VersionCounts) -> None:
    total.requests += counts.requests
    total.errors += counts.errors
    total.counts += counts.counts


def _point(at_s: float, counts: VersionCounts) -> tuple[float | None, ...]:
    rates = round(counts.requests / STEP_S, 2), round(counts.errors / STEP_S, 2)
    return (float(at_s), *rates, mean_ms(counts.counts), *[quantile_ms(counts.counts, each) for each in (0.5, 0.99)])
