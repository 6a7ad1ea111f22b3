"""What samples say about a disturbance: how much was answered during it, and when latency was as before. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.load.http_client import Outcome
from benchmarks.load.report import percentile_ms
from benchmarks.load.samples import Samples

WINDOW_S = 0.5
SLACK = 1.5
"""How far above the baseline's worst window a window may be and still count as recovered."""


class Spell(msgspec.Struct, frozen=True):
    """What became of the requests that were planned in one span of time, of all generators together.

    ``goodput_rps`` are good answers per second; ``refused_p99_ms`` counts from the planned time, as all latencies.
    """

    seconds: float
    planned_rps: float
    goodput_rps: float
    refused: int
    failed: int
    timed_out: int
    p50_ms: float
    p99_ms: float
    refused_p99_ms: float


def spell_of(runs: Sequence[Samples], from_s: float, to_s: float) -> Spell:
    """The requests planned in ``[from_s, to_s)``, wall-clock."""
    latency_s, outcome = _between(runs, from_s, to_s)
    seconds = max(to_s - from_s, 1e-9)
    counts = np.bincount(outcome, minlength=len(Outcome))
    is_ok, is_refused = outcome == Outcome.OK, outcome == Outcome.REFUSED
    return Spell(
        round(seconds, 3),
        round(len(outcome) / seconds, 1),
        round(int(counts[Outcome.OK]) / seconds, 1),
        int(counts[Outcome.REFUSED]),
        int(counts[Outcome.FAILED]),
        int(counts[Outcome.TIMED_OUT]),
        percentile_ms(latency_s[is_ok], 50),
        percentile_ms(latency_s[is_ok], 99),
        percentile_ms(latency_s[is_refused], 99),
    )


def recovery_s(run: Samples, baseline: tuple[float, float], ended_s: float) -> float | None:
    """Seconds from the end of a disturbance until latency is as before, and stays so.

    Latency is as before in a window of `WINDOW_S` whose p99 is at most `SLACK` times that of the baseline's worst
    window and in which every request was answered. None if that does not come.

    Args:
        run: samples of a steady load through all of it.
        baseline: wall-clock span before the disturbance.
        ended_s: wall-clock end of the disturbance.
    """
    before = [p99_ms for p99_ms, all_ok in _windows(run, *baseline) if all_ok]
    if not before:
        return None
    limit_ms = SLACK * max(before)
    last_s = run.start_wall_s + float(run.scheduled_s.max(initial=0.0))
    after = _windows(run, ended_s, last_s)
    bad = [index for index, (p99_ms, all_ok) in enumerate(after) if p99_ms > limit_ms or not all_ok]
    first_good = bad[-1] + 1 if bad else 0
    return round(first_good * WINDOW_S, 2) if first_good < len(after) else None


def _windows(run: Samples, from_s: float, to_s: float) -> list[tuple[float, bool]]:
    """p99 of the good answers and whether there were no others, for each whole window."""
    found = []
    for index in range(int((to_s - from_s) / WINDOW_S + 1e-9)):
        begins_s = from_s + index * WINDOW_S
        latency_s, outcome = _between([run], begins_s, begins_s + WINDOW_S)
        is_ok = outcome == Outcome.OK
        found.append((percentile_ms(latency_s[is_ok], 99), bool(is_ok.all())))
    return found


def _between(runs: Sequence[Samples], from_s: float, to_s: float) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    latencies, outcomes = [np.zeros(0)], [np.zeros(0, np.uint8)]
    for run in runs:
        planned_s = run.start_wall_s + run.scheduled_s
        own = (planned_s >= from_s) & (planned_s < to_s)
        latencies.append(run.latency_s[own])
        outcomes.append(run.outcome[own])
    return np.concatenate(latencies), np.concatenate(outcomes)
