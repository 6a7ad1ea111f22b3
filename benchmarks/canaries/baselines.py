"""How other systems would have judged the same traffic: at a steady 20 % split, with one look a minute, as they do.

- ``static_p99``: Flagger's analysis with its defaults. It compares the canary's p99 over the last minute with a fixed
  threshold, here 1.25 times stable's p99 of the minute before the rollout. It also needs 99 % of requests to succeed.
  The fifth failed check rolls back.
- ``p99_ratio``: one check fails when the canary's p99 is over 1.25 times stable's of the same minute, or less than 99 %
  succeed. One failed check rolls back.
- ``mann_whitney_*``: Kayenta's judge on points of 1, 10 or 60 s, of p99 and of the share of failures. A metric fails if
  the lower end of the 98 % confidence interval of the shift lies above a quarter of the Hodges-Lehmann estimate. All
  points so far are compared, from five on: with fewer points there is no such interval.

They split request by request, at random, as the proxies under them do. To them NaN is an answer like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.canaries.scenarios import Scenario
from benchmarks.canaries.simulation import BEFORE_S, HORIZON_S, STEPS_BP, Outcome
from benchmarks.canaries.traffic import Floats, Traffic, queued
from divisions.control import FULL_BP
from router.evidence import histogram

CHECK_S = 60
RATIO = 1.25
FAILED_CHECKS = 5
SUCCESS_SHARE = 0.99
KAYENTA_FRACTION = 0.25
KAYENTA_Z = 2.3263478740408408
"""The 99 % point of the normal distribution: 98 % between it and its negative."""
MIN_POINTS = 5
WATCHED_GOOD_S, WATCHED_BAD_S = 420, 600
"""A rollout of the product takes 426 s if nothing is wrong; what is wrong may take ten minutes to find."""
_LONGEST_S = 10.0

Grid = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recording:
    """What the monitoring of other systems has of one rollout.

    **Shape**: histograms ``[T, NUM_BUCKETS]``, the rest ``[T]``; T seconds from the canary's first second. A failure
    that only Divisions notices is in the bucket that the request would have had.
    """

    scenario: Scenario
    before: histogram.Counts
    stable: Grid
    canary: Grid
    stable_errors: Grid
    canary_errors: Grid
    affected: Grid
    harmed: Grid


def record(scenario: Scenario, rps: float, seed: int) -> Recording:
    """The traffic of `rollout_simulation.simulate` with the same seed, split at 20 % throughout."""
    generator = np.random.default_rng(seed)
    traffic = Traffic(scenario, rps, generator, HORIZON_S, BEFORE_S)
    generator.uniform()  # the controller's turn, which others do not have
    arms = np.random.default_rng((seed, 1))
    share = STEPS_BP[0] / FULL_BP
    seconds = WATCHED_BAD_S if scenario.is_bad else WATCHED_GOOD_S
    stable, canary = (np.zeros((seconds, histogram.NUM_BUCKETS), dtype=np.int64) for _ in range(2))
    counters = np.zeros((4, seconds), dtype=np.int64)
    before = histogram.empty()
    service = scenario.service
    for tick, requests in traffic.seconds():
        if tick >= seconds:
            break
        mine = arms.random(len(requests.at_s)) < (share if tick >= 0 else 0.0)
        stable_s = requests.latency_stable_s[~mine]
        canary_s, fails = requests.latency_canary_s[mine], requests.fails_openly[mine]
        if service.utilisation:
            load = service.utilisation * traffic.load(tick)
            stable_s = queued(stable_s, requests.waits[~mine], service, load * (1.0 - (share if tick >= 0 else 0.0)))
            canary_s = queued(canary_s, requests.waits[mine], service, load * share / scenario.capacity)
        if tick < 0:
            before += histogram.count(stable_s)
            continue
        # What fails without being seen to (NaN) took its usual time.
        canary_s = np.where(np.isinf(canary_s) & ~fails, requests.latency_stable_s[mine], canary_s)
        stable[tick], canary[tick] = histogram.count(stable_s), histogram.count(canary_s)
        begun = mine & (requests.at_s >= scenario.onset_s)
        counters[:, tick] = (
            np.isinf(stable_s).sum(),
            fails.sum(),
            begun.sum(),
            (begun & requests.is_harmed).sum(),
        )
    return Recording(scenario, before, stable, canary, *counters)


def judge_all(recording: Recording) -> dict[str, Outcome]:
    """What every method would have done."""
    return {name: _outcome(recording, decide(recording)) for name, decide in METHODS.items()}


def static_p99(recording: Recording) -> int | None:
    """The second of the fifth failed check."""
    limit_s = RATIO * histogram.quantile_s(recording.before, 0.99)
    failed = 0
    for end in _checks(recording):
        last = slice(end - CHECK_S, end)
        p99_s = histogram.quantile_s(recording.canary[last].sum(axis=0), 0.99)
        failed += p99_s > limit_s or _fails_too_often(recording, last)
        if failed >= FAILED_CHECKS:
            return end
    return None


def p99_ratio(recording: Recording) -> int | None:
    for end in _checks(recording):
        last = slice(end - CHECK_S, end)
        stable_s, canary_s = (
            histogram.quantile_s(arm[last].sum(axis=0), 0.99) for arm in (recording.stable, recording.canary)
        )
        if canary_s > RATIO * stable_s or _fails_too_often(recording, last):
            return end
    return None


def mann_whitney(recording: Recording, point_s: int) -> int | None:
    seconds = len(recording.affected) // point_s * point_s
    series = []
    for counts, errors in ((recording.stable, recording.stable_errors), (recording.canary, recording.canary_errors)):
        points = counts[:seconds].reshape(-1, point_s, histogram.NUM_BUCKETS).sum(axis=1)
        requests = points.sum(axis=1)
        p99_s = np.array([min(histogram.quantile_s(point, 0.99), _LONGEST_S) for point in points])
        failed = errors[:seconds].reshape(-1, point_s).sum(axis=1) / np.maximum(requests, 1)
        series.append((np.where(requests > 0, p99_s, np.nan), np.where(requests > 0, failed, np.nan)))
    for end in _checks(recording):
        known = end // point_s
        if any(is_high(mine[:known], rest[:known]) for rest, mine in zip(*series, strict=True)):
            return end
    return None


def is_high(canary: Floats, stable: Floats) -> bool:
    """Kayenta's classification of one metric as *High*; NaN points are left out."""
    canary, stable = canary[~np.isnan(canary)], stable[~np.isnan(stable)]
    n, m = len(canary), len(stable)
    if min(n, m) < MIN_POINTS:
        return False
    shifts = np.sort((canary[:, np.newaxis] - stable).ravel())
    rank = max(0, round(n * m / 2 - KAYENTA_Z * math.sqrt(n * m * (n + m + 1) / 12)) - 1)
    estimate = float(np.median(shifts))
    return bool(shifts[rank] > KAYENTA_FRACTION * abs(estimate))


METHODS: dict[str, Callable[[Recording], int | None]] = {
    "static_p99": static_p99,
    "p99_ratio": p99_ratio,
    "mann_whitney_1s": lambda recording: mann_whitney(recording, 1),
    "mann_whitney_10s": lambda recording: mann_whitney(recording, 10),
    "mann_whitney_60s": lambda recording: mann_whitney(recording, 60),
}


def _checks(recording: Recording) -> range:
    return range(CHECK_S, len(recording.affected) + 1, CHECK_S)


def _fails_too_often(recording: Recording, last: slice) -> bool:
    requests = int(recording.canary[last].sum())
    return int(recording.canary_errors[last].sum()) > (1.0 - SUCCESS_SHARE) * requests


def _outcome(recording: Recording, second: int | None) -> Outcome:
    end = len(recording.affected) if second is None else second
    requests, harmed = int(recording.affected[:end].sum()), int(recording.harmed[:end].sum())
    if second is None:
        return Outcome("promoted", "", math.inf, requests, harmed)
    return Outcome("rolled back", "", second - recording.scenario.onset_s, requests, harmed)
