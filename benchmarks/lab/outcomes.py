"""After how many labels a drop of the AUC is found, if labels come late: ``python -m benchmarks.outcomes --out FILE``.

Months of predictions go through the code that makes the report and its alerts (`trainers.outcomes.report.assess`), once
a day with all labels that have arrived. Scores of the two kinds of customers are normal, a deviation apart for the
AUC that is wanted. Runs without a drop count false alerts.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from divisions.outcomes import OutcomesReport
from trainers.outcomes.join import Joined
from trainers.outcomes.report import assess

DAY_S = 86_400.0
BEGIN_S = 1_767_225_600.0
GATE = 0.85
POSITIVE = 0.2
DELAY_DAYS = 30
GOOD_DAYS = 60
"""Days of predictions before the drop."""
LATEST_DAYS = 120
"""How long a drop is looked for, from its first label on."""


class Drop(msgspec.Struct, frozen=True):
    """One size of drop. ``labels`` are those of predictions after it, and ``days`` since it, when it was found."""

    before: float
    after: float
    runs: int
    labels: tuple[int, ...]
    days: tuple[int, ...]


class OutcomesResult(msgspec.Struct, frozen=True, tag="outcomes"):
    """``false_alerts`` are runs without a drop that gave an alert, out of ``quiet_runs`` of ``quiet_days`` days."""

    machine: Machine
    seed: int
    gate: float
    delay_days: int
    labels_per_day: int
    positive: float
    quiet_runs: int
    quiet_days: int
    false_alerts: int
    drops: tuple[Drop, ...]


def separation(area: float) -> float:
    """How many deviations two normal distributions are apart, if their AUC is ``area``.

    >>> round(separation(0.7602499389065233), 6)
    1.0
    """
    return statistics.NormalDist().inv_cdf(area) * 2**0.5


def predictions(seed: int, before: float, after: float, days: int, per_day: int) -> Joined:
    """Predictions with their outcome, from the first day on; the AUC changes after `GOOD_DAYS`."""
    rng = np.random.default_rng(seed)
    day_N = np.repeat(np.arange(days), per_day)
    labels_N = (rng.random(day_N.size) < POSITIVE).astype(float)
    apart_N = np.where(day_N < GOOD_DAYS, separation(before), separation(after))
    scores_N = 1.0 / (1.0 + np.exp(-rng.normal(labels_N * apart_N - 2.0, 1.0)))
    versions_N = np.full(day_N.size, "3.1")
    return Joined(versions_N, np.asarray(BEGIN_S + day_N * DAY_S, np.float64), labels_N, scores_N, day_N.size, 0, 0, 0)


def first_alert(all_of: Joined, days: int, per_day: int) -> int | None:
    """The number of days of predictions whose labels were there when the first alert came; None without one."""
    report: OutcomesReport | None = None
    for known in range(1, days + 1):
        rows = known * per_day
        part = Joined(
            all_of.versions_N[:rows],
            all_of.times_N[:rows],
            all_of.labels_N[:rows],
            all_of.scores_N[:rows],
            rows,
            0,
            0,
            0,
        )
        report = assess("churn", part, GATE, "month", BEGIN_S + (known + DELAY_DAYS) * DAY_S, report)
        if report.alerts:
            return known
    return None


def find(seed: int, before: float, after: float, per_day: int) -> tuple[int, int] | None:
    """Labels of predictions after the drop, and days since it, when it was found; None if it was not.

    An alert before the drop is none of it, and counts as not found.
    """
    days = GOOD_DAYS + LATEST_DAYS
    known = first_alert(predictions(seed, before, after, days, per_day), days, per_day)
    if known is None or known <= GOOD_DAYS:
        return None
    return (known - GOOD_DAYS) * per_day, known - GOOD_DAYS + DELAY_DAYS


def measure_drop(seed: int, before: float, after: float, runs: int, per_day: int) -> Drop:
    found = [find(seed + number, before, after, per_day) for number in range(runs)]
    hits = [each for each in found if each is not None]
    return Drop(before, after, runs, tuple(each[0] for each in hits), tuple(each[1] for each in hits))


def render_outcomes(found: OutcomesResult) -> str:
    lines = [
        f"{found.false_alerts} of {found.quiet_runs} runs of {found.quiet_days} days at the gate of {found.gate:g} gave"
        f" a false alert; {found.labels_per_day} labels a day, {found.delay_days} days late"
    ]
    for drop in found.drops:
        told = "not found"
        if drop.labels:
            told = (
                f"found after {statistics.median(drop.labels):,.0f} labels and {statistics.median(drop.days):.0f} days"
            )
        lines.append(f"AUC {drop.before:g} to {drop.after:g}: {told} ({len(drop.labels)} of {drop.runs} runs)")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("outcomes", "After how many labels a drop of the AUC is found.")
    parser.add_argument("--runs", type=int, default=20, help="runs of each drop, and without one (default 20)")
    parser.add_argument("--per-day", type=int, default=200, help="labels a day (default 200)")
    options = parser.parse_args(arguments)
    runs, per_day = options.runs, options.per_day

    def measure(work: Path, say: Say) -> OutcomesResult:
        quiet = GOOD_DAYS + LATEST_DAYS
        false = 0
        for number in range(runs):
            at_gate = predictions(options.seed + 1_000 + number, GATE, GATE, quiet, per_day)
            false += first_alert(at_gate, quiet, per_day) is not None
        say(f"{false} of {runs} quiet runs gave an alert")
        drops = []
        for before, after in ((GATE, GATE - 0.03), (GATE + 0.01, GATE - 0.02), (GATE, GATE - 0.05)):
            drops.append(measure_drop(options.seed, before, round(after, 4), runs, per_day))
            say(f"{before:g} to {after:g}: found in {len(drops[-1].labels)} of {runs}")
        machine = describe_machine()
        return OutcomesResult(
            machine, options.seed, GATE, DELAY_DAYS, per_day, POSITIVE, runs, quiet, false, tuple(drops)
        )

    return run_benchmark(options, measure, render_outcomes)


if __name__ == "__main__":
    sys.exit(main())
