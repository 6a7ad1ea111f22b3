"""Minutes of CloudWatch as evidence for the rollout's state machine. Pure.

CloudWatch has one point per variant and minute, a minute or two late: counts, and the average of the latency. So:

- **errors** are judged by the test of clusters (`router.evidence.error_evidence`), minute by minute in place of second
  by second. A minute may move the evidence by half of the threshold. Seconds may move it by less, because one stall of
  a replica fails hundreds of requests in one of them; it rarely lasts for two minutes.
- **latency** is judged by the sign of a difference. Averages have no counts to compare, and the distribution of an
  average is unknown. The null hypothesis is that in at most half of all minutes the canary's average is above stable's
  by more than the tolerance. Each minute is a bet on that. A minute cannot bring more than ln 2, whatever the
  difference, so a slower canary is found after ten slow minutes, not after seconds.

The minutes of a rollout are read anew each time and judged from the first to the last. So nothing is lost when the
process that drives it ends, and a point that CloudWatch corrects is judged by its last value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from divisions.analysis_spec import AnalysisSpec
from router.evidence.error_evidence import THETAS, tick_ln_e
from router.evidence.mixture import RestartMixture
from router.evidence.windows import WarmUp
from router.rollouts.states import Judgement

MINUTE_S: Final = 60.0
LATE_S: Final = 120.0
"""A minute is judged this long after its end: CloudWatch has its points then."""
FRESH_S: Final = 300.0
"""A last minute that ended longer ago raises no weight."""
SLOW_SHARES: Final = (0.75, 0.95)
"""Alternatives: the share of minutes in which a slower canary's average is above stable's."""
_WON: Final = np.log(2.0 * np.array(SLOW_SHARES))
_LOST: Final = np.log(2.0 * (1.0 - np.array(SLOW_SHARES)))


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant's minute. ``latency_ms`` is the model's average; None without requests."""

    requests: int = 0
    errors: int = 0
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Minute:
    """Both variants' minute from ``start_s``, in seconds since the Unix epoch."""

    start_s: float
    stable: Arm
    canary: Arm


@dataclass(frozen=True, slots=True)
class StepTime:
    """Which step the canary is in, and since when its weights are in force."""

    index: int
    since_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """What is said of a rollout's minutes."""

    minutes: int = 0
    stable: Arm = Arm()
    canary: Arm = Arm()


def known(minutes: Sequence[Minute], now_s: float) -> list[Minute]:
    """The minutes that are complete, oldest first."""
    return sorted(
        (each for each in minutes if each.start_s + MINUTE_S + LATE_S <= now_s), key=lambda minute: minute.start_s
    )


def judge(minutes: Sequence[Minute], step: StepTime, analysis: AnalysisSpec, now_s: float) -> Judgement:
    """The evidence of a rollout's complete minutes.

    Args:
        minutes: those since the canary has had weight.
        step: the present one. Its samples and dwell are counted from its first whole minute.
        analysis: the settings.
        now_s: seconds since the Unix epoch.
    """
    errors = RestartMixture(len(THETAS), -math.log(analysis.error_alpha) / 2)
    latency = RestartMixture(len(SLOW_SHARES))
    warm_up = WarmUp(analysis.warmup_s, analysis.warmup_requests)
    requests, seconds, last_s = 0, 0.0, -math.inf
    for minute in known(minutes, now_s):
        stable, canary = minute.stable, minute.canary
        if "errors" in analysis.guards:
            errors.update(tick_ln_e(stable.requests, stable.errors, canary.requests, canary.errors))
        if warm_up.leaves_out(int(minute.start_s), canary.requests):
            continue
        if "latency" in analysis.guards and (slower := is_slower(stable, canary, analysis)) is not None:
            latency.update(_WON if slower else _LOST)
        if canary.requests:
            last_s = minute.start_s + MINUTE_S
        if minute.start_s >= step.since_s:
            requests += canary.requests
            seconds += MINUTE_S
    return Judgement(
        latency_ln_e=latency.ln_e(),
        error_ln_e=errors.ln_e(),
        step_index=step.index,
        step_requests=requests,
        step_s=seconds,
        is_fresh=now_s - last_s <= FRESH_S,
    )


def is_slower(stable: Arm, canary: Arm, analysis: AnalysisSpec) -> bool | None:
    """Whether the canary's average of a minute is above stable's by more than the tolerance; None if one has none."""
    if stable.latency_ms is None or canary.latency_ms is None:
        return None
    margin_ms = max(stable.latency_ms * analysis.tolerance, analysis.tolerance_ms)
    return canary.latency_ms > stable.latency_ms + margin_ms


def totals(minutes: Sequence[Minute], now_s: float) -> Totals:
    """The sums of the complete minutes; latencies are averages over requests."""
    found = known(minutes, now_s)
    return Totals(len(found), _sum([each.stable for each in found]), _sum([each.canary for each in found]))


def _sum(arms: Sequence[Arm]) -> Arm:
    timed = [(arm.requests, arm.latency_ms) for arm in arms if arm.latency_ms is not None and arm.requests]
    requests = sum(count for count, _ in timed)
    average = sum(count * value for count, value in timed) / requests if requests else None
    return Arm(sum(arm.requests for arm in arms), sum(arm.errors for arm in arms), average)
