"""Explains why a guard fired, in words and numbers, from the counts of the analysis. Pure."""

from __future__ import annotations

import math

from divisions.reports import BreakerTrip
from divisions.status import Evidence, Explanation
from router.evidence.histogram import OVERFLOW, Counts, edge_s, exceeding, quantile_s
from router.evidence.latency_evidence import Dominant
from router.evidence.quantiles import QUANTILES, Indices, threshold_indices
from router.evidence.windows import VersionCounts
from router.rollouts.verdict import INPUT_DRIFT_HOLDS, PREDICTION_DRIFT_FAILS


def latency(
    evidence: Evidence,
    dominant: Dominant,
    reference: Counts,
    limits: Indices,
    stable: VersionCounts,
    canary: VersionCounts,
    window_s: float,
) -> Explanation:
    """The latency guard.

    Args:
        evidence: the present evidence.
        dominant: the alternative that the evidence rests on most.
        reference: the window that the last thresholds came from.
        limits: the canary's threshold for each of stable's.
        stable: stable's requests of the window.
        canary: the canary's.
        window_s: the window's length.
    """
    at = min(int(threshold_indices(reference)[QUANTILES.index(dominant.quantile)]), OVERFLOW)
    limit = int(limits[at])
    if evidence.is_frozen:
        stable = VersionCounts(int(reference.sum()), 0, reference)
    q_stable, q_canary = (quantile_s(arm.counts, dominant.quantile) for arm in (stable, canary))
    stable_over, canary_over = exceeding(stable.counts, at), exceeding(canary.counts, limit)
    limit_s = edge_s(limit)
    text = (
        f"latency: {share(canary_over, canary.requests)} of the canary's {canary.requests:,} requests took longer "
        f"than {_ms(limit_s)}, against {share(stable_over, stable.requests)} of stable's {stable.requests:,} over "
        f"{_ms(edge_s(at))} (p{dominant.quantile * 100:g} {_ms(q_canary)} against {_ms(q_stable)}); "
        f"ln E {evidence.latency_log_e:.2f} of {evidence.threshold:.2f}{_weaker(evidence)}"
    )
    return Explanation(
        guard="latency",
        text=text,
        log_e=evidence.latency_log_e,
        threshold=evidence.threshold,
        quantile=dominant.quantile,
        ratio=dominant.ratio,
        threshold_ms=_finite_ms(limit_s),
        stable_requests=stable.requests,
        canary_requests=canary.requests,
        stable_exceeded=stable_over,
        canary_exceeded=canary_over,
        stable_quantile_ms=_finite_ms(q_stable),
        canary_quantile_ms=_finite_ms(q_canary),
        window_s=window_s,
    )


def errors(evidence: Evidence, ratio: float) -> Explanation:
    """The error guard; ``ratio`` is the multiple of stable's rate of failure that the evidence points at."""
    text = (
        f"errors: {evidence.canary_errors:,} of the canary's {evidence.canary_requests:,} requests failed "
        f"({share(evidence.canary_errors, evidence.canary_requests)}), against {evidence.stable_errors:,} of "
        f"stable's {evidence.stable_requests:,} ({share(evidence.stable_errors, evidence.stable_requests)}); "
        f"ln E {evidence.error_log_e:.2f} of {evidence.error_threshold:.2f}{_weaker(evidence)}"
    )
    return Explanation(
        guard="errors",
        text=text,
        log_e=evidence.error_log_e,
        threshold=evidence.error_threshold,
        ratio=ratio,
        stable_requests=evidence.stable_requests,
        canary_requests=evidence.canary_requests,
        stable_exceeded=evidence.stable_errors,
        canary_exceeded=evidence.canary_errors,
        window_s=float(evidence.ticks),
    )


def breaker(trip: BreakerTrip) -> Explanation:
    text = (
        f"breaker: in one gateway {trip.canary_errors:,} of the canary's {trip.canary_requests:,} requests failed, "
        f"against {trip.stable_errors:,} of stable's {trip.stable_requests:,}; it sends nothing more to the canary "
        f"(ln E {trip.log_e:.1f} of {trip.threshold:.1f})"
    )
    return Explanation(
        guard="breaker",
        text=text,
        log_e=trip.log_e,
        threshold=trip.threshold,
        stable_requests=trip.stable_requests,
        canary_requests=trip.canary_requests,
        stable_exceeded=trip.stable_errors,
        canary_exceeded=trip.canary_errors,
    )


def split(evidence: Evidence, weight_bp: int) -> Explanation:
    """The split guard: customers do not arrive in the proportion of ``weight_bp``."""
    customers = evidence.stable_customers + evidence.canary_customers
    text = (
        f"split: {share(evidence.canary_customers, customers)} of {customers:,} distinct customers are on the canary, "
        f"the weight is {weight_bp / 100:g} %; {_why_no_customer(evidence)} "
        f"(ln E {evidence.split_log_e:.1f} of {evidence.split_threshold:.1f})"
    )
    return Explanation(
        guard="split",
        text=text,
        log_e=evidence.split_log_e,
        threshold=evidence.split_threshold,
        stable_requests=evidence.stable_customers,
        canary_requests=evidence.canary_customers,
    )


def inputs(evidence: Evidence) -> Explanation:
    text = (
        f"inputs: {evidence.input_drift_feature!r} is distributed otherwise on the canary than on stable (drift "
        f"{evidence.input_drift:.2f}, holds from {INPUT_DRIFT_HOLDS:.2f}): the arms see different customers, so "
        "nothing that is compared between them means much"
    )
    return Explanation(guard="inputs", text=text, log_e=evidence.input_drift, threshold=INPUT_DRIFT_HOLDS)


def predictions(evidence: Evidence) -> Explanation:
    text = (
        f"predictions: the canary's scores are distributed otherwise than stable's (drift "
        f"{evidence.prediction_drift:.2f}, rolls back from {PREDICTION_DRIFT_FAILS:.2f})"
    )
    return Explanation(
        guard="predictions", text=text, log_e=evidence.prediction_drift, threshold=PREDICTION_DRIFT_FAILS
    )


def undecided(evidence: Evidence, reason: str) -> Explanation:
    """No guard decided; says what slow-down this traffic can show at all."""
    found = evidence.min_detectable
    if unreached := why_unreached(evidence):
        text = f"{reason}; {unreached}"
    elif found:
        text = f"{reason}; this traffic shows a median slower by {100 * (found - 1):.0f} % or more"
    else:
        text = f"{reason}; this traffic is too little to show anything"
    return Explanation(
        guard="undecided",
        text=text,
        stable_requests=evidence.stable_requests,
        canary_requests=evidence.canary_requests,
    )


def why_unreached(evidence: Evidence) -> str:
    """Why no request reached the canary although some reached stable; nothing if that is not so.

    Requests count from the second in which every gateway had the weight: before that, none could reach the canary.

    A customer always gets the same version. So a few customers may all be stable's: with a weight of 20 %, one salt in
    three leaves the canary without any of five. The split guard tells when that can no longer be chance.
    """
    if evidence.canary_requests or not evidence.stable_applied:
        return ""
    why, customers = _UNREACHED, evidence.stable_customers
    if customers and evidence.split_log_e < evidence.split_threshold:
        called = "one customer" if customers == 1 else f"{customers:,} distinct customers"
        why = f"only {called} called, who may by chance all be stable's, because a customer keeps a version; or {why}"
    return f"no request reached the canary, but {evidence.stable_applied:,} reached stable: {why}"


_UNREACHED = "gateways cannot use it, and their logs (logs/ of the home) say why"


def _why_no_customer(evidence: Evidence) -> str:
    return "gateways split wrongly, or cannot reach it" if evidence.canary_customers else _UNREACHED


def share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _weaker(evidence: Evidence) -> str:
    return "; weaker evidence: compared with stable's last traffic, not with present one" if evidence.is_frozen else ""


def _finite_ms(seconds: float) -> float | None:
    return round(seconds * 1e3, 3) if math.isfinite(seconds) else None


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if math.isfinite(seconds) else "for ever (failed)"
