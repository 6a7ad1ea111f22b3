"""Turns the guards' evidence into a verdict on a step: pass, wait, hold, fail, or inconclusive. Pure.

==============  ==========================================  =========================================================
guard           holds                                       rolls back
==============  ==========================================  =========================================================
latency         from half of ln(1/alpha): stays             ln E >= ln(1/alpha)
errors          from half of ln(1/error_alpha): stays       ln E >= ln(1/error_alpha)
breaker                                                     a gateway's breaker has tripped (`circuit_breaker`)
split           E >= 1,000 (`router.evidence.sample_ratio`)
inputs          drift >= 0.15
predictions     drift >= 0.20                               drift >= 0.25
==============  ==========================================  =========================================================

Chance chooses the two arms. So drift of the inputs between them means that the split is broken, not that the version is
bad; the rollout holds. Drift of predictions may be the purpose of a new model. So its guard works only on request.
"""

from __future__ import annotations

import enum
import math

from router.rollouts.states import SHADOW_STEP, Judgement, Policy, Timer

SAMPLE_RATIO_LN_E = math.log(1_000.0)
INPUT_DRIFT_HOLDS = 0.15
"""The product's threshold for drift; with 1,000 rows per arm chance reaches about 0.03."""
PREDICTION_DRIFT_HOLDS = 0.2
PREDICTION_DRIFT_FAILS = 0.25
SHADOW_SAMPLES_SHARE = 0.1
"""Mirrored requests needed, as a share of the first step's samples. A mirror only has to find gross faults."""


class Verdict(enum.Enum):
    PASS = "pass"
    WAIT = "wait"
    HOLD = "hold"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


def judge(judgement: Judgement, timer: Timer, index: int, policy: Policy, *, is_baking: bool) -> Verdict:
    """The verdict of the guards' evidence on step ``index``. With NaN anywhere there is no pass."""
    analysis = policy.analysis
    if failure(judgement, policy):
        return Verdict.FAIL
    if suspicion(judgement, policy):
        return Verdict.HOLD
    dwell_s, samples = needed(policy, index, is_baking)
    is_pass = (
        judgement.is_fresh
        and judgement.step_index == index
        and judgement.step_s >= dwell_s
        and judgement.step_requests >= samples
        and judgement.latency_ln_e < -math.log(analysis.alpha) / 2
        and judgement.error_ln_e < -math.log(analysis.error_alpha) / 2
        and judgement.sample_ratio_ln_e < SAMPLE_RATIO_LN_E
        and judgement.input_drift < INPUT_DRIFT_HOLDS
        and (judgement.prediction_drift < PREDICTION_DRIFT_HOLDS or "predictions" not in analysis.guards)
    )
    if is_pass:
        return Verdict.PASS
    return Verdict.INCONCLUSIVE if is_overdue(timer, index, policy, is_baking=is_baking) else Verdict.WAIT


def is_overdue(timer: Timer, index: int, policy: Policy, *, is_baking: bool) -> bool:
    """Whether step ``index`` has lasted both its shortest and its longest time."""
    dwell_s, _ = needed(policy, index, is_baking)
    return timer.elapsed_s >= max(policy.analysis.max_dwell_s, dwell_s)


def needed(policy: Policy, index: int, is_baking: bool) -> tuple[float, int]:
    """The judged seconds and canary requests that step ``index`` needs to pass."""
    analysis = policy.analysis
    if index == SHADOW_STEP:
        first = analysis.min_samples[0] if analysis.min_samples else 0
        return analysis.shadow_s, max(1, int(SHADOW_SAMPLES_SHARE * first))
    samples = analysis.min_samples[min(index, len(analysis.min_samples) - 1)] if analysis.min_samples else 0
    return (analysis.bake_s if is_baking else analysis.min_dwell_s), samples


def failure(judgement: Judgement, policy: Policy) -> str:
    """The guard that fired, in short; empty if none did. The explanation has the details."""
    analysis = policy.analysis
    if judgement.is_tripped:
        return "breaker: a gateway's breaker tripped on the canary's errors"
    if judgement.error_ln_e >= -math.log(analysis.error_alpha):
        return f"errors: the canary fails more often than stable (ln E {judgement.error_ln_e:.2f})"
    if judgement.latency_ln_e >= -math.log(analysis.alpha):
        return f"latency: the canary is slower than stable (ln E {judgement.latency_ln_e:.2f})"
    if "predictions" in analysis.guards and judgement.prediction_drift >= PREDICTION_DRIFT_FAILS:
        return f"predictions: the canary's scores are distributed otherwise (drift {judgement.prediction_drift:.2f})"
    return ""


def suspicion(judgement: Judgement, policy: Policy) -> str:
    """Why the rollout must hold although the version may be good; empty if it may go on."""
    if judgement.sample_ratio_ln_e >= SAMPLE_RATIO_LN_E:
        return f"split: customers do not arrive by the weights set (ln E {judgement.sample_ratio_ln_e:.2f})"
    if judgement.input_drift >= INPUT_DRIFT_HOLDS:
        return f"inputs: the arms see different customers (drift {judgement.input_drift:.2f}); the split is broken"
    if "predictions" in policy.analysis.guards and judgement.prediction_drift >= PREDICTION_DRIFT_HOLDS:
        return f"predictions: the canary's scores are distributed otherwise (drift {judgement.prediction_drift:.2f})"
    return ""
