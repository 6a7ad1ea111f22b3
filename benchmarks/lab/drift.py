"""Months without drift, and shifts of three sizes, through the watch that runs in production:
``python -m benchmarks.drift --output json``.

Customers are a fixed population with fixed features, and come as often as a heavy-tailed weight says; so the same ones
come again and again, as in life. Traffic follows the day. So does one feature's mean, and at the weekend two features
are others than on working days. All of that is no drift. The training data is another sample of the same population.

A shift changes one feature by a share of its mean. A normal feature has a deviation of half its mean, so a shift by
10 % is a fifth of a deviation.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from divisions.reports import InputSample
from divisions.schema import Feature, FeatureKind
from router.drift.watch import SLOT_S, Watch, WatchState
from router.evidence.drift import PREDICTION, FeatureBins

NUM_NUMERIC = 8
POPULATION = 30_000
SLOTS = 86_400 // SLOT_S
MEAN, SPREAD = 2.0, 1.0
"""Of every numeric feature."""
SHIFTED = 2
"""The feature that drifts; no season moves it."""
DAILY, WEEKEND = 0.25, 0.1
"""How far the hour moves the mean of the first feature, and a weekend that of the second, in deviations."""
SIZES = (0.1, 0.2, 0.5)
BEFORE_DAY, AFTER_DAY = 6, 16
USUAL_DAY = 14
"""Shifts begin before and after two weeks are known."""
LATEST_S = 7 * 86_400.0
"""How long a shift is waited for."""


class Found(msgspec.Struct, frozen=True):
    """One size of shift: the seconds until the alert in each run that found it within `LATEST_S`."""

    size: float
    day: int
    runs: int
    seconds: tuple[float, ...]
    false_features: int
    """Alerts for features that did not shift."""


class DriftResult(msgspec.Struct, frozen=True, tag="drift"):
    """``alerts`` are those of each quiet month."""

    machine: Machine
    seed: int
    rows_per_s: float
    days: int
    columns: int
    population: int
    alerts: tuple[int, ...]
    shifts: tuple[Found, ...]


class World:
    """A population, its traffic, and the watch of a model that was trained on another sample of it."""

    def __init__(self, seed: int, rows_per_s: float, population: int = POPULATION) -> None:
        self._random = np.random.default_rng(seed)
        self._rows_per_slot = rows_per_s * SLOT_S
        self._people = self._draw(population)
        weights = self._random.pareto(1.5, population) + 0.1
        self._chances = np.cumsum(weights / weights.sum())
        self._digests = self._random.integers(0, 2**63, population, dtype=np.uint64)
        trained = self._draw(population)
        self.bins = tuple(_bins(f"x{number}", column) for number, column in enumerate(trained.T))
        self.bins = (*self.bins, _bins(PREDICTION, self._scores(trained)))

    def watch(self, state: WatchState | None = None) -> Watch:
        watch = Watch("sha", self.bins)
        if state is not None:
            watch.restore(state, 0.0 if not state.looked else (state.looked[-1] + 1) * SLOT_S)
        return watch

    def play(self, watch: Watch, first_slot: int, last_slot: int, shift: float = 0.0) -> list[tuple[int, str]]:
        """Runs the watch over some slots; returns the alerts, as slot and feature."""
        raised = []
        for slot in range(first_slot, last_slot):
            now_s = float(slot * SLOT_S)
            raised += [(slot, alert.feature) for alert in watch.look(now_s)]
            watch.add(self._sample(slot, shift), now_s)
        return raised

    def _sample(self, slot: int, shift: float) -> InputSample:
        hour, day = slot / 12 % 24, slot // SLOTS % 7
        count = self._random.poisson(self._rows_per_slot * (1 + 0.8 * np.sin((hour - 9) / 24 * 2 * np.pi)))
        who = np.searchsorted(self._chances, self._random.random(count)).clip(0, len(self._digests) - 1)
        rows = self._people[who].copy()
        rows[:, 0] += DAILY * np.sin(hour / 24 * 2 * np.pi)
        rows[:, 1] += WEEKEND if day >= 5 else 0.0
        rows[:, SHIFTED] += shift * MEAN
        scores = self._scores(rows)
        columns = [*rows.T, scores]
        binned = np.column_stack([bins.positions(x) for bins, x in zip(self.bins, columns, strict=True)])
        return InputSample("sha", self._digests[who].tobytes(), binned.astype("<u2").tobytes())

    def _draw(self, count: int) -> NDArray[np.float32]:
        return self._random.normal(MEAN, SPREAD, (count, NUM_NUMERIC)).astype(np.float32)

    @staticmethod
    def _scores(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        weights = np.array([0.0, 0.1, 0.4, 0.4, 0.4, 0.4, 0.2, 0.1], dtype=np.float32)
        return (1 / (1 + np.exp(-(rows - MEAN) @ weights))).astype(np.float32)


def _bins(name: str, x: NDArray[np.float32]) -> FeatureBins:
    edges = tuple(float(edge) for edge in np.quantile(x, np.arange(1, 10) / 10, method="inverted_cdf"))
    empty = FeatureBins(Feature(name, FeatureKind.NUMERIC), (0,) * 11, edges)
    return msgspec.structs.replace(empty, counts=tuple(np.bincount(empty.positions(x), minlength=11).tolist()))


def quiet_month(seed: int, rows_per_s: float, days: int = 30) -> int:
    """The alerts of so many days without drift."""
    world = World(seed, rows_per_s)
    return len(world.play(world.watch(), 0, days * SLOTS))


def shifts(seed: int, rows_per_s: float) -> list[tuple[float, int, float | None, int]]:
    """Size, day, seconds until it was found (None if it was not), and false alerts, of every size and day."""
    world = World(seed, rows_per_s)
    watch, played, found = world.watch(), 0, []
    for day in (BEFORE_DAY, AFTER_DAY):
        world.play(watch, played, day * SLOTS)
        played = day * SLOTS
        for size in SIZES:
            copy = world.watch(watch.state())
            raised: list[tuple[int, str]] = []
            last = played + int(LATEST_S / SLOT_S)
            for start in range(played, last, SLOTS // 8):
                raised += world.play(copy, start, min(start + SLOTS // 8, last), size)
                if any(feature == f"x{SHIFTED}" for _, feature in raised):
                    break
            at = [slot for slot, feature in raised if feature == f"x{SHIFTED}"]
            false = sum(feature not in (f"x{SHIFTED}", "") for _, feature in raised)
            found.append((size, day, (at[0] - played) * float(SLOT_S) if at else None, false))
    return found


def measure(
    seed: int, months: int, runs: int, rows_per_s: float, jobs: int, say: Say
) -> tuple[tuple[int, ...], tuple[Found, ...]]:
    """Quiet months, and each size of shift in several runs; ``jobs`` of them at once."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
        quiet = [pool.submit(quiet_month, seed + month, rows_per_s) for month in range(months)]
        shifted = [pool.submit(shifts, seed + 1_000 + run, rows_per_s) for run in range(runs)]
        both: list[Future[Any]] = [*quiet, *shifted]
        for number, _ in enumerate(as_completed(both)):
            say(f"{number + 1} of {months + runs} simulations")
        alerts = tuple(future.result() for future in quiet)
        played = [each for future in shifted for each in future.result()]
    found = []
    for day in (BEFORE_DAY, AFTER_DAY):
        for size in SIZES:
            mine = [each for each in played if each[:2] == (size, day)]
            seconds = tuple(sorted(each[2] for each in mine if each[2] is not None))
            found.append(Found(size, day, len(mine), seconds, sum(each[3] for each in mine)))
    return alerts, tuple(found)


def render_drift(found: DriftResult) -> str:
    lines = [f"{len(found.alerts)} quiet months of {found.days} days: {sum(found.alerts)} alerts"]
    for each in found.shifts:
        median = (
            f"{np.median(each.seconds) / 3600:.1f} h, at most {max(each.seconds) / 3600:.1f} h" if each.seconds else "-"
        )
        lines.append(f"{each.size:.0%} from day {each.day}: {len(each.seconds)} of {each.runs} found, median {median}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("drift", "Simulated months without drift, and shifts of three sizes.")
    parser.add_argument("--months", type=int, default=20, help="quiet months (default 20)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each shift (default 5)")
    parser.add_argument("--rows-per-s", type=float, default=1.5, help="mean rate of requests (default 1.5)")
    parser.add_argument("--jobs", type=int, default=2, help="simulations at once (default 2)")
    options = parser.parse_args(arguments)

    def run(work: Path, say: Say) -> DriftResult:
        alerts, found = measure(options.seed, options.months, options.runs, options.rows_per_s, options.jobs, say)
        return DriftResult(
            describe_machine(),
            options.seed,
            options.rows_per_s,
            30,
            NUM_NUMERIC + 1,
            POPULATION,
            alerts,
            found,
        )

    return run_benchmark(options, run, render_drift)


if __name__ == "__main__":
    sys.exit(main())
