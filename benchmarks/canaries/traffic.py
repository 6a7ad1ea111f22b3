"""Simulated traffic: requests of customers over time, and how long each takes on each version.

Every request has two latencies, one if stable answers and one if the canary does, from the same random numbers. So all
methods judge the same traffic, and the harm of a canary to its callers is known exactly.

Legend of shapes: N requests of one stretch of time or of one second.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.canaries.scenarios import Scenario, Service

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

STRETCH_S = 20
"""Seconds that are drawn at once."""
PENDING_S = 1.0
"""The age with which a request that is never answered is counted: gateways report a second when it is that old."""
HARMED_FROM = 1.05
"""A request is harmed if it fails, or takes this many times longer than it would have."""
_POOL = 1 << 20


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests in some order; all **Shape** ``[N]``.

    ``latency_*`` is infinite for a request that fails; a request that hangs has its age when it is reported. ``waits``
    are uniform numbers that give the order at a full queue; the arms turn them into waiting times.
    """

    customer: Integers
    at_s: Floats
    replica: Integers
    waits: Floats
    latency_stable_s: Floats
    latency_canary_s: Floats
    is_harmed: Flags
    fails_openly: Flags
    """If the canary answers: whether others than Divisions see it fail; NaN looks like an answer to them."""

    def slice(self, start: int, stop: int) -> Requests:
        return Requests(
            self.customer[start:stop],
            self.at_s[start:stop],
            self.replica[start:stop],
            self.waits[start:stop],
            self.latency_stable_s[start:stop],
            self.latency_canary_s[start:stop],
            self.is_harmed[start:stop],
            self.fails_openly[start:stop],
        )


@dataclass(frozen=True, slots=True)
class _Stalls:
    """All stalls of one version's replicas; **Shape** ``[S]``."""

    start_s: Floats
    length_s: Floats
    replica: Integers


class Traffic:
    """The traffic of one rollout, second by second; second 0 is the canary's first.

    Args:
        scenario: what it goes through.
        rps: mean requests per second.
        generator: where chance comes from.
        horizon_s: seconds after 0 that may be asked for.
        before_s: seconds before 0.
    """

    def __init__(
        self, scenario: Scenario, rps: float, generator: np.random.Generator, horizon_s: int, before_s: int = 0
    ) -> None:
        self._scenario = scenario
        self._service = service = scenario.service
        self._rps = rps
        self._generator = generator
        self._first, self._last = -before_s, horizon_s
        self._pool = _customer_pool(service.num_customers, service.zipf_exponent)
        self._ln_pace = generator.normal(0.0, service.customer_sigma, service.num_customers)
        self._phase, self._period_s = generator.uniform(0, 2 * math.pi), generator.uniform(60.0, 600.0)
        self._stable_stalls, self._canary_stalls = self._stalls(), self._stalls()

    def load(self, tick: float) -> float:
        """The load at a time, as a multiple of its mean."""
        return 1.0 + self._service.load_swing * math.sin(2 * math.pi * tick / self._period_s + self._phase)

    def seconds(self) -> Iterator[tuple[int, Requests]]:
        """Every second from the first to the last, with its requests in no particular order."""
        for start in range(self._first, self._last, STRETCH_S):
            ticks = np.arange(start, min(start + STRETCH_S, self._last))
            jitter = np.exp(self._generator.normal(0.0, 0.05, len(ticks)))
            numbers = self._generator.poisson([self._rps * self.load(tick) for tick in ticks.tolist()] * jitter)
            stretch = self._draw(ticks, numbers)
            ends = np.cumsum(numbers)
            for tick, number, end in zip(ticks.tolist(), numbers.tolist(), ends.tolist(), strict=True):
                yield tick, stretch.slice(end - number, end)

    def _draw(self, ticks: Integers, numbers: Integers) -> Requests:
        service, generator, total = self._service, self._generator, int(numbers.sum())
        customer = self._pool[generator.integers(0, _POOL, total)]
        at_s = np.repeat(ticks.astype(np.float64), numbers) + generator.random(total)
        replica = generator.integers(0, service.replicas, total)
        ln_latency = generator.standard_normal(total) * service.sigma + self._ln_pace[customer]
        slowed = np.array([1.0 + service.load_slows * (self.load(tick) - 1.0) for tick in ticks])
        ln_latency += np.repeat(np.log(service.median_s * slowed), numbers)
        service_s = np.exp(ln_latency)
        tail, stretch = (
            generator.random(total),
            service.tail_from * (1.0 - generator.random(total)) ** (-1.0 / service.tail_index),
        )
        stable_s = np.where(tail < service.tail_share, service_s * stretch, service_s)
        canary_s = self._canary_latency(at_s, replica, service_s, tail, stretch)
        is_harmed = canary_s > HARMED_FROM * stable_s
        fails_openly = self._fail(stable_s, canary_s, at_s, is_harmed)
        offsets = np.concatenate([[0], np.cumsum(numbers)])
        for stalls, latency_s in ((self._stable_stalls, stable_s), (self._canary_stalls, canary_s)):
            _stall(stalls, latency_s, at_s, replica, int(ticks[0]), offsets)
        waits = generator.random(total) if service.utilisation else np.zeros(total)
        return Requests(customer, at_s, replica, waits, stable_s, canary_s, is_harmed, fails_openly)

    def _canary_latency(
        self, at_s: Floats, replica: Integers, service_s: Floats, tail: Floats, stretch: Floats
    ) -> Floats:
        scenario = self._scenario
        has_begun = at_s >= scenario.onset_s
        usual = scenario.service.tail_share
        tail_share = usual if scenario.tail_share is None else np.where(has_begun, scenario.tail_share, usual)
        canary_s = np.where(tail < tail_share, service_s * stretch, service_s)
        if scenario.factor != 1.0:
            is_bad = has_begun & (replica < scenario.bad_replicas) if scenario.bad_replicas else has_begun
            canary_s = np.where(is_bad, canary_s * scenario.factor, canary_s)
        if scenario.slow_share:
            is_slow = has_begun & (self._generator.random(len(at_s)) < scenario.slow_share)
            canary_s = np.where(is_slow, canary_s * scenario.slow_factor, canary_s)
        if scenario.ramp_per_min:
            minutes = np.maximum(at_s - scenario.onset_s, 0.0) / 60.0
            canary_s = canary_s * (1.0 + scenario.ramp_per_min * minutes)
        return canary_s

    def _fail(self, stable_s: Floats, canary_s: Floats, at_s: Floats, is_harmed: Flags) -> Flags:
        """Lets requests fail, in place; returns which of the canary's failures every method can see."""
        scenario, chance = self._scenario, self._generator.random(len(at_s))
        has_begun = at_s >= scenario.onset_s
        stable_s[chance < scenario.service.error_share] = np.inf
        fails = chance < scenario.service.error_share + np.where(has_begun, scenario.error_share, 0.0)
        is_nan = has_begun & (chance < scenario.nan_share)
        hangs = has_begun & (self._generator.random(len(at_s)) < scenario.hang_share) if scenario.hang_share else None
        canary_s[fails | is_nan] = np.inf
        is_harmed |= (fails | is_nan) & (chance >= scenario.service.error_share)
        if hangs is not None:
            canary_s[hangs] = PENDING_S
            is_harmed |= hangs
            fails |= hangs
        openly: Flags = fails
        return openly

    def _stalls(self) -> _Stalls:
        service, generator = self._service, self._generator
        span_s = self._last - self._first
        number = int(generator.poisson(service.stalls_per_min / 60.0 * service.replicas * span_s))
        start_s = np.sort(generator.uniform(self._first, self._last, number))
        length_s = service.stall_s * np.exp(generator.normal(0.0, service.stall_sigma, number))
        return _Stalls(start_s, length_s, generator.integers(0, service.replicas, number))


def queued(requests_s: Floats, waits: Floats, service: Service, load: float) -> Floats:
    """Latencies with the wait for a worker added: the probability of waiting is Erlang's C, the wait exponential.

    Args:
        requests_s: latencies without it, ``[N]``.
        waits: uniform numbers, ``[N]``.
        service: whose workers.
        load: offered to the version, as a share of what its replicas can do.
    """
    busy = min(max(load, 1e-6), 0.98)
    chance = erlang_c(service.queue_workers, service.queue_workers * busy)
    mean_s = service.median_s * math.exp(service.sigma**2 / 2) / (service.queue_workers * (1.0 - busy))
    with np.errstate(divide="ignore"):
        wait_s = np.where(waits < chance, -np.log(np.maximum(waits, 1e-300) / chance) * mean_s, 0.0)
    delayed: Floats = requests_s + wait_s
    return delayed


def erlang_c(workers: int, offered: float) -> float:
    """The probability that a request finds all workers busy; ``offered`` in workers, below their number.

    >>> round(erlang_c(4, 2.0), 3)
    0.174
    """
    blocked = 1.0
    for busy in range(1, workers + 1):
        blocked = offered * blocked / (busy + offered * blocked)
    return blocked / (1.0 - offered / workers * (1.0 - blocked))


def _stall(
    stalls: _Stalls, latency_s: Floats, at_s: Floats, replica: Integers, first_tick: int, offsets: Integers
) -> None:
    """Makes requests that arrive at a stalled replica wait until the stall ends, in place."""
    num_ticks = len(offsets) - 1
    begin = np.searchsorted(stalls.start_s, first_tick - 10.0)
    end = np.searchsorted(stalls.start_s, first_tick + num_ticks)
    for index in range(int(begin), int(end)):
        start_s = float(stalls.start_s[index])
        end_s = start_s + float(stalls.length_s[index])
        low = offsets[min(max(int(start_s // 1) - first_tick, 0), num_ticks)]
        high = offsets[min(max(int(end_s // 1) + 1 - first_tick, 0), num_ticks)]
        here = slice(int(low), int(high))
        hit = (replica[here] == stalls.replica[index]) & (at_s[here] >= start_s) & (at_s[here] < end_s)
        latency_s[here] += np.where(hit, end_s - at_s[here], 0.0)


@functools.lru_cache(maxsize=8)
def _customer_pool(num_customers: int, exponent: float) -> Integers:
    """Customers in proportion to what they send, so that drawing a place draws a customer."""
    weights = np.arange(1, num_customers + 1, dtype=np.float64) ** -exponent
    edges = np.cumsum(weights) / weights.sum()
    pool: Integers = np.searchsorted(edges, (np.arange(_POOL) + 0.5) / _POOL).astype(np.int64)
    return pool
