"""The study of rollouts: many simulated ones per scenario and method, summed up in rows. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from benchmarks.canaries.baselines import METHODS, judge_all, record
from benchmarks.canaries.scenarios import SCENARIOS, Scenario
from benchmarks.canaries.simulation import Outcome, simulate
from benchmarks.harness.machine import Machine

OURS = "divisions"
CONFIDENCE = 0.95
TRUSTED_FALSE_RATE = 0.05
"""A method that surely rolls back more equal versions than this is not worth comparing delays with."""
_SEEDS_APART = 1_000_003


class Row(msgspec.Struct, frozen=True):
    """The results of one method in all rollouts of one scenario.

    ``rolled_back`` counts all rollbacks. The false ones are those of a faultless canary, or from before the canary went
    bad; ``ci_low`` to ``ci_high`` is Clopper and Pearson's 95 % interval of their rate. Delays run from the first bad
    request to the decision. Delays, and the requests until then, are medians over *all* rollouts in which the canary
    was bad; a canary that was not found counts as infinite. A quantile that is infinite is null. ``harmed`` requests
    failed or took more than 5 % longer because of the canary. ``held`` rollouts ended with a question to the operator.
    """

    scenario: str
    method: str
    rps: float
    rollouts: int
    rolled_back: int
    false_rollback_rate: float
    ci_low: float
    ci_high: float
    delay_s_p50: float | None
    delay_s_p95: float | None
    canary_requests_p50: float | None
    harmed_requests_p50: float | None
    held: int = 0
    guards: dict[str, int] = {}
    seed: int = 0


class Study(msgspec.Struct, frozen=True):
    machine: Machine
    rows: tuple[Row, ...]


def run_scenario(
    scenario: Scenario, rps: float, rollouts: int, seed: int, say: Callable[[str], None], *, with_baselines: bool = True
) -> list[Row]:
    """Simulates the rollouts of one scenario and sums them up, one row per method."""
    outcomes: dict[str, list[Outcome]] = {OURS: []}
    for index in range(rollouts):
        one = seed * _SEEDS_APART + index
        outcomes[OURS].append(simulate(scenario, rps, one))
        if with_baselines:
            for method, outcome in judge_all(record(scenario, rps, one)).items():
                outcomes.setdefault(method, []).append(outcome)
        if (index + 1) % 100 == 0:
            say(f"{scenario.name} at {rps:g}/s: {index + 1} of {rollouts}")
    return [summarise(scenario, method, rps, found, seed) for method, found in outcomes.items()]


def summarise(scenario: Scenario, method: str, rps: float, outcomes: Sequence[Outcome], seed: int = 0) -> Row:
    fired = [outcome for outcome in outcomes if outcome.ending == "rolled back"]
    false = fired if not scenario.is_bad else [outcome for outcome in fired if outcome.delay_s < 0]
    low, high = clopper_pearson(len(false), len(outcomes))
    hits = [outcome for outcome in outcomes if outcome not in false] if scenario.is_bad else []
    delays_s = [outcome.delay_s if outcome.ending == "rolled back" else math.inf for outcome in hits]
    guards = [outcome.guard for outcome in fired if outcome.guard]
    return Row(
        scenario=scenario.name,
        method=method,
        rps=rps,
        rollouts=len(outcomes),
        rolled_back=len(fired),
        false_rollback_rate=round(len(false) / len(outcomes), 5),
        ci_low=round(low, 5),
        ci_high=round(high, 5),
        delay_s_p50=quantile(delays_s, 0.5),
        delay_s_p95=quantile(delays_s, 0.95),
        canary_requests_p50=quantile([outcome.canary_requests for outcome in hits], 0.5),
        harmed_requests_p50=quantile([outcome.harmed_requests for outcome in hits], 0.5),
        held=sum(outcome.ending == "held" for outcome in outcomes),
        guards={guard: guards.count(guard) for guard in sorted(set(guards))},
        seed=seed,
    )


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of them do not exceed; None if that is infinite or there are none."""
    if not values:
        return None
    found = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    return round(float(found), 2) if math.isfinite(found) else None


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval of a rate: each end is where chance would do as much, or more, in (1 - confidence)/2 of cases.

    >>> tuple(round(end, 4) for end in clopper_pearson(0, 2_000))
    (0.0, 0.0018)
    """
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else _rate_at(lambda rate: 1.0 - _at_most(hits - 1, trials, rate) < tail)
    high = 1.0 if hits == trials else _rate_at(lambda rate: _at_most(hits, trials, rate) > tail)
    return low, high


def _rate_at(is_below: Callable[[float], bool]) -> float:
    """Where a condition that holds for low rates ends, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low


def _at_most(hits: int, trials: int, rate: float) -> float:
    """The binomial probability of at most so many hits."""
    ln_terms = [
        math.lgamma(trials + 1)
        - math.lgamma(number + 1)
        - math.lgamma(trials - number + 1)
        + number * math.log(rate)
        + (trials - number) * math.log1p(-rate)
        for number in range(hits + 1)
    ]
    return math.fsum(math.exp(term) for term in ln_terms)


def merge(before: Sequence[Row], new: Sequence[Row]) -> tuple[Row, ...]:
    """Rows in the order of scenarios, rates and methods; new ones take the place of those of the same name."""
    rows: Mapping[tuple[str, float, str], Row] = {(row.scenario, row.rps, row.method): row for row in (*before, *new)}
    scenarios, methods = list(SCENARIOS), [OURS, *METHODS]
    return tuple(
        sorted(rows.values(), key=lambda row: (scenarios.index(row.scenario), row.rps, methods.index(row.method)))
    )


def trusted_baselines(rows: Sequence[Row], rps: float) -> list[str]:
    """The baselines whose rate of false rollbacks may be tolerable at this rate: the lower end of its interval is."""
    return [
        row.method
        for row in rows
        if (row.scenario, row.rps) == ("aa", rps) and row.method != OURS and row.ci_low <= TRUSTED_FALSE_RATE
    ]


def winner(rows: Sequence[Row], scenario: str, rps: float) -> str:
    """The best method: the least median delay for a bad canary, the lowest false rate for a good one; empty if tied.

    Where delays are compared, only methods that can be trusted take part.
    """
    entered = [row for row in rows if (row.scenario, row.rps) == (scenario, rps)]
    if SCENARIOS[scenario].is_bad:
        allowed = {OURS, *trusted_baselines(rows, rps)}
        scores = {row.method: _or_infinite(row.delay_s_p50) for row in entered if row.method in allowed}
    else:
        scores = {row.method: row.false_rollback_rate for row in entered}
    best = [method for method, score in scores.items() if score == min(scores.values())]
    return best[0] if len(best) == 1 else (OURS if OURS in best and not SCENARIOS[scenario].is_bad else "")


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def median_of(rows: Sequence[Row], scenario: str, rps: float, method: str = OURS) -> float:
    """A median delay; infinite when most were not found, NaN when the row is missing."""
    found = [
        _or_infinite(row.delay_s_p50) for row in rows if (row.scenario, row.rps, row.method) == (scenario, rps, method)
    ]
    return found[0] if found else float(np.nan)
