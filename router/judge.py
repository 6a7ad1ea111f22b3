"""The judge of one rollout: feeds closed ticks to the guards and says what they know. Pure; no I/O.

The latency guard leaves out the canary's warm-up; the error guard does not, because a request that failed has hurt
its caller however young the replica was.
"""

from __future__ import annotations

import math

import msgspec

from divisions.control import AnalysisSpec, Evidence, Explanation
from router.canary import Judgement
from router.error_evidence import ErrorEvidence
from router.evidence import QUANTILES, LatencyEvidence, min_detectable_ratio, threshold_indices
from router.histogram import Counts, edge_s, exceeding, from_sparse, quantile_s, to_sparse, tolerance_buckets
from router.mixture import MixtureSnapshot
from router.windows import RecentCounts, VersionCounts, WarmUp

FRESH_S = 6.0
"""A judgement older than this raises no weight. Ticks are judged about 2.5 s after they began."""


class JudgeSnapshot(msgspec.Struct, frozen=True):
    """What the journal keeps of a judge every 10 s. ``stable`` is the reference window, summed."""

    latency: MixtureSnapshot
    errors: MixtureSnapshot
    totals: Evidence
    stable: dict[int, int]
    last_tick: int
    warm_first_tick: int | None
    warm_requests: int
    step_index: int
    step_requests: int
    step_ticks: int


class RolloutJudge:
    """Judges the canary of one rollout from its first tick to its last."""

    def __init__(self, analysis: AnalysisSpec) -> None:
        self._analysis = analysis
        self._shift = tolerance_buckets(analysis.tolerance)
        self._latency = LatencyEvidence(self._shift)
        self._errors = ErrorEvidence()
        self._warm_up = WarmUp(analysis.warmup_s, analysis.warmup_requests)
        self._seen_stable = VersionCounts()
        self._seen_canary = VersionCounts()
        self._stable_recent = RecentCounts()
        self._canary_recent = RecentCounts()
        self._reference: Counts = VersionCounts().counts
        self._last_tick: int | None = None
        self._num_ticks = 0
        self._step_index = 0
        self._step_from_tick = 0
        self._step_requests = 0
        self._step_ticks = 0

    def enter_step(self, step_index: int, from_tick: int) -> None:
        """Counts samples and dwell anew, from requests that arrive in ``from_tick`` or later."""
        self._step_index, self._step_from_tick = step_index, from_tick
        self._step_requests = self._step_ticks = 0

    def observe(self, tick: int, reference: Counts, stable: VersionCounts, canary: VersionCounts) -> None:
        """Takes one closed tick in which the canary had weight.

        Args:
            tick: its number; ticks come in rising order.
            reference: stable's requests of the 30 s before the tick.
            stable: stable's requests of the tick.
            canary: the canary's requests of the tick.
        """
        self._last_tick, self._reference = tick, reference.copy()
        self._num_ticks += 1
        self._add(self._seen_stable, stable)
        self._add(self._seen_canary, canary)
        if "errors" in self._analysis.guards:
            self._errors.update(stable.requests, stable.errors, canary.requests, canary.errors)
        if self._warm_up.leaves_out(tick, canary.requests):
            return
        if "latency" in self._analysis.guards:
            self._latency.update(reference, stable.counts, canary.counts)
        self._stable_recent.add(tick, stable)
        self._canary_recent.add(tick, canary)
        if tick >= self._step_from_tick:
            self._step_requests += canary.requests
            self._step_ticks += 1

    def judgement(self, now_s: float) -> Judgement:
        evidence = self.evidence()
        return Judgement(
            latency_ln_e=evidence.latency_log_e,
            error_ln_e=evidence.error_log_e,
            step_index=self._step_index,
            step_requests=self._step_requests,
            step_s=float(self._step_ticks),
            is_fresh=self._last_tick is not None and now_s - self._last_tick <= FRESH_S,
        )

    def evidence(self) -> Evidence:
        stable, canary = self._stable_recent, self._canary_recent
        ticks = max(1, stable.num_ticks)
        end = (self._last_tick or 0) + 1
        return Evidence(
            latency_log_e=self._latency.ln_e(),
            error_log_e=self._errors.ln_e(),
            threshold=-math.log(self._analysis.alpha),
            error_threshold=-math.log(self._analysis.error_alpha),
            ticks=self._num_ticks,
            stable_requests=self._seen_stable.requests,
            canary_requests=self._seen_canary.requests,
            stable_errors=self._seen_stable.errors,
            canary_errors=self._seen_canary.errors,
            min_detectable=min_detectable_ratio(
                self._reference,
                stable.total(end).requests / ticks,
                canary.total(end).requests / ticks,
                self._shift,
                -math.log(self._analysis.alpha),
                self._analysis.min_dwell_s,
            ),
        )

    def explain(self) -> Explanation:
        """The guard that dominates, with the counts of the last 30 judged seconds."""
        evidence = self.evidence()
        latency_share = evidence.latency_log_e / evidence.threshold
        error_share = evidence.error_log_e / evidence.error_threshold
        return self._explain_errors(evidence) if error_share > latency_share else self._explain_latency(evidence)

    def snapshot(self) -> JudgeSnapshot:
        return JudgeSnapshot(
            latency=self._latency.snapshot(),
            errors=self._errors.snapshot(),
            totals=self.evidence(),
            stable=to_sparse(self._reference),
            last_tick=self._last_tick or 0,
            warm_first_tick=self._warm_up.first_tick,
            warm_requests=self._warm_up.requests,
            step_index=self._step_index,
            step_requests=self._step_requests,
            step_ticks=self._step_ticks,
        )

    def restore(self, snapshot: JudgeSnapshot) -> None:
        """Goes on from a snapshot. The ticks between it and now are lost: that costs power, not validity."""
        self._latency.restore(snapshot.latency)
        self._errors.restore(snapshot.errors)
        totals = snapshot.totals
        self._seen_stable = VersionCounts(totals.stable_requests, totals.stable_errors)
        self._seen_canary = VersionCounts(totals.canary_requests, totals.canary_errors)
        self._num_ticks = totals.ticks
        self._reference = from_sparse(snapshot.stable)
        self._warm_up.first_tick = snapshot.warm_first_tick
        self._warm_up.requests = snapshot.warm_requests
        self._step_index = snapshot.step_index
        self._step_requests, self._step_ticks = snapshot.step_requests, snapshot.step_ticks

    @staticmethod
    def _add(total: VersionCounts, more: VersionCounts) -> None:
        total.requests += more.requests
        total.errors += more.errors

    def _explain_latency(self, evidence: Evidence) -> Explanation:
        dominant = self._latency.dominant()
        end = (self._last_tick or 0) + 1
        stable, canary = self._stable_recent.total(end), self._canary_recent.total(end)
        # Thresholds from the reference of the last tick: those that the last decision was made with.
        at = int(threshold_indices(self._reference)[QUANTILES.index(dominant.quantile)])
        q_stable, q_canary = (quantile_s(arm.counts, dominant.quantile) for arm in (stable, canary))
        stable_over, canary_over = exceeding(stable.counts, at), exceeding(canary.counts, at + self._shift)
        limit_s = edge_s(at + self._shift)
        text = (
            f"latency: {_share(canary_over, canary.requests)} of the canary's {canary.requests:,} requests took longer "
            f"than {_ms(limit_s)}, against {_share(stable_over, stable.requests)} of stable's {stable.requests:,} over "
            f"{_ms(edge_s(at))} ({_percentile(dominant.quantile)} {_ms(q_canary)} against {_ms(q_stable)}); "
            f"ln E {evidence.latency_log_e:.2f} of {evidence.threshold:.2f}"
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
            window_s=float(self._canary_recent.num_ticks),
        )

    def _explain_errors(self, evidence: Evidence) -> Explanation:
        ratio, _ticks = self._errors.dominant()
        text = (
            f"errors: {evidence.canary_errors:,} of the canary's {evidence.canary_requests:,} requests failed "
            f"({_share(evidence.canary_errors, evidence.canary_requests)}), against {evidence.stable_errors:,} of "
            f"stable's {evidence.stable_requests:,} ({_share(evidence.stable_errors, evidence.stable_requests)}); "
            f"ln E {evidence.error_log_e:.2f} of {evidence.error_threshold:.2f}"
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
            window_s=float(self._num_ticks),
        )


def _finite_ms(seconds: float) -> float | None:
    return round(seconds * 1e3, 3) if math.isfinite(seconds) else None


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if math.isfinite(seconds) else "for ever (failed)"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _percentile(quantile: float) -> str:
    return f"p{quantile * 100:g}"
