"""A day of load on the policy that sets the number of replicas: ``python -m benchmarks.autoscale --output json``.

The policy is the one that runs in production (`router.scaling`), second by second, over reports as gateways send them,
some of which are lost. Replicas are a fluid: so many rows per second each, a queue up to the deadline, refusal beyond.
A new replica takes a while to start. Beside it stand a fixed number, sized for the day's peak without the crowds, and
a rule as Kubernetes' horizontal autoscaler has it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from divisions.reports import GatewayReport, VersionLoad
from divisions.scaling import Scaling
from router.scaling.load import LoadLedger
from router.scaling.policy import Sizer, needed

DAY_S = 86_400
PEAK_ROWS_PER_S = 2_400.0
REPLICA_ROWS_PER_S = 200.0
MAX_BATCH = 4
LIMITS = Scaling(min=2, max=100, target_utilization=0.6, scale_down_after_s=300.0)
START_S = (6, 20)
"""A replica is warm after so long: between these, by chance."""
DEADLINE_S = 1.0
NUM_GATEWAYS = 3
LOST = 0.01
"""The share of reports that are lost, and a gateway is silent for a minute `SILENCES` times a day."""
SILENCES = 6
CROWDS = 4
"""Times a day at which the load is four times as much within 10 s, for five minutes."""
HPA_EVERY_S = 15
HPA_TOLERANCE = 0.1

Numbers = NDArray[np.float64]
Decide = Callable[[int, int, float, float], int]
"""The number of replicas from the second, the present number, the present rows per second and the rows that wait."""


class Played(msgspec.Struct, frozen=True):
    """One rule over one day.

    ``rows`` and ``refused`` are sums; ``late_refused`` leaves out the first 20 s of a crowd. ``ideal_hours`` are
    those of somebody who knows each second's load, and needs no time to start a replica.
    """

    rule: str
    rows: float
    refused: float
    late_refused: float
    replica_hours: float
    ideal_hours: float
    changes: int
    most: int


class AutoscaleResult(msgspec.Struct, frozen=True, tag="autoscale"):
    machine: Machine
    seed: int
    days: int
    peak_rows_per_s: float
    replica_rows_per_s: float
    limits: Scaling
    crowds: int
    rules: list[Played]


def day_of_load(generator: np.random.Generator) -> tuple[Numbers, list[int]]:
    """Rows per second over a day, and when crowds begin: night, two peaks, drift from minute to minute, crowds."""
    hours = np.arange(DAY_S) / 3600
    curve = 0.12 + 0.55 * np.exp(-(((hours - 11) / 3.2) ** 2)) + 0.88 * np.exp(-(((hours - 20) / 2.6) ** 2))
    steps = generator.normal(0, 0.02, DAY_S // 60)
    drift = np.zeros(len(steps))
    for minute in range(1, len(steps)):
        drift[minute] = 0.97 * drift[minute - 1] + steps[minute]
    load = PEAK_ROWS_PER_S * curve / curve.max() * np.exp(np.repeat(drift, 60))
    begins = sorted(int(second) for second in generator.integers(3_600, DAY_S - 3_600, CROWDS))
    for begin in begins:
        rise, stay = 10, 300
        factor = np.ones(DAY_S)
        factor[begin : begin + rise] = np.linspace(1, 4, rise)
        factor[begin + rise : begin + rise + stay] = 4
        factor[begin + rise + stay : begin + stay + 2 * rise] = np.linspace(4, 1, rise)
        load *= factor
    return generator.poisson(load).astype(np.float64), begins


def play(rule: str, decide: Decide, load: Numbers, begins: Sequence[int], generator: np.random.Generator) -> Played:
    """One day: what arrives waits, is answered or refused; replicas start late and stop at once."""
    present, ready, queue = LIMITS.min, LIMITS.min, 0.0
    starting: list[int] = []
    refused = late_refused = hours = 0.0
    changes = most = 0
    in_crowd = {second for begin in begins for second in range(begin, begin + 20)}
    for second, rows in enumerate(load):
        ready += sum(at <= second for at in starting)
        starting = [at for at in starting if at > second]
        able = ready * REPLICA_ROWS_PER_S
        queue += rows
        queue -= min(queue, able)
        over = max(0.0, queue - able * DEADLINE_S)
        queue -= over
        refused += over
        late_refused += over if second not in in_crowd else 0.0
        wanted = decide(second, present, rows, over)
        if wanted > present:
            starting += [second + int(generator.integers(*START_S)) for _ in range(wanted - present)]
        for _ in range(present - wanted):
            if starting:
                starting.pop()
            else:
                ready -= 1
        changes += wanted != present
        present = wanted
        most = max(most, present)
        hours += present / 3600
    target = REPLICA_ROWS_PER_S * LIMITS.target_utilization
    ideal = sum(max(LIMITS.min, math.ceil(rows / target)) for rows in load) / 3600
    return Played(rule, float(load.sum()), refused, late_refused, hours, ideal, changes, most)


def ours(generator: np.random.Generator) -> Decide:
    """The policy in production, over the reports of some gateways."""
    ledger, sizer = LoadLedger(), Sizer(LIMITS)
    silent = [set[int]() for _ in range(NUM_GATEWAYS)]
    for begin in generator.integers(0, DAY_S, SILENCES):
        silent[int(begin) % NUM_GATEWAYS].update(range(int(begin), int(begin) + 60))
    names = [f"g{number}" for number in range(NUM_GATEWAYS)]
    duration_s = MAX_BATCH / REPLICA_ROWS_PER_S

    def decide(second: int, present: int, rows: float, refused: float) -> int:
        now_s = float(second)
        for number, name in enumerate(names):
            if second in silent[number] or generator.random() < LOST:
                continue
            share = int(rows / NUM_GATEWAYS)
            measured_s = duration_s * float(generator.lognormal(0, 0.1))
            load = VersionLoad("m", share, max(1, share // 2), int(refused / NUM_GATEWAYS), 0, measured_s, 0.0, present)
            ledger.add(GatewayReport(name, 1, second, (), 0, (load,), 1.0), now_s)
        sizer.observe(ledger.demand("m", MAX_BATCH, names, now_s), now_s)
        return sizer.decide(present, now_s).replicas

    return decide


def kubernetes() -> Decide:
    """Kubernetes' autoscaler on the mean use, each 15 s, with its usual tolerance and its 300 s before it removes."""
    uses: list[float] = []
    wishes: list[tuple[int, int]] = []

    def decide(second: int, present: int, rows: float, refused: float) -> int:
        uses.append(min(1.0, rows / (present * REPLICA_ROWS_PER_S)))
        if second % HPA_EVERY_S:
            return present
        ratio = float(np.mean(uses[-30:])) / LIMITS.target_utilization
        wish = present if abs(ratio - 1) <= HPA_TOLERANCE else math.ceil(present * ratio)
        wishes.append((second, min(max(wish, LIMITS.min), LIMITS.max)))
        recent = max(count for at, count in wishes[-40:] if at > second - 300)
        return max(wishes[-1][1], min(recent, present))

    return decide


def fixed(load: Numbers) -> Decide:
    """As many as the usual day's peak needs: the 99th percentile."""
    count = needed(float(np.percentile(load, 99)), REPLICA_ROWS_PER_S, LIMITS.target_utilization)
    return lambda second, present, rows, refused: count


def measure_days(seed: int, days: int, say: Say) -> list[Played]:
    """Every rule over the same days, summed up."""
    found: dict[str, list[Played]] = {}
    for day in range(days):
        load, begins = day_of_load(np.random.default_rng((seed, day)))
        rules = {
            "Divisions": ours(np.random.default_rng((seed, day, 1))),
            "Kubernetes' rule": kubernetes(),
            "a fixed number": fixed(load),
        }
        for name, decide in rules.items():
            found.setdefault(name, []).append(play(name, decide, load, begins, np.random.default_rng((seed, day, 2))))
        say(f"day {day + 1} of {days}")
    return [_mean(each) for each in found.values()]


def _mean(played: Sequence[Played]) -> Played:
    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    return Played(
        played[0].rule,
        mean([each.rows for each in played]),
        mean([each.refused for each in played]),
        mean([each.late_refused for each in played]),
        round(mean([each.replica_hours for each in played]), 1),
        round(mean([each.ideal_hours for each in played]), 1),
        round(mean([each.changes for each in played])),
        max(each.most for each in played),
    )


def render_autoscale(found: AutoscaleResult) -> str:
    return "\n".join(
        f"{each.rule}: {each.refused / each.rows:.3%} refused ({each.late_refused / each.rows:.3%} after 20 s of a "
        f"crowd), {each.replica_hours:,.0f} replica-hours ({each.replica_hours / each.ideal_hours:.2f} of the ideal), "
        f"{each.changes} changes, at most {each.most}"
        for each in found.rules
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("autoscale", "A simulated day of load on the policy that sets the number of replicas.")
    parser.add_argument("--days", type=int, default=5, help="simulated days (default 5)")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> AutoscaleResult:
        rules = measure_days(options.seed, options.days, say)
        return AutoscaleResult(
            describe_machine(), options.seed, options.days, PEAK_ROWS_PER_S, REPLICA_ROWS_PER_S, LIMITS, CROWDS, rules
        )

    return run_benchmark(options, measure, render_autoscale)


if __name__ == "__main__":
    sys.exit(main())
