"""The analysis of one rollout: feeds closed ticks to the guards and says what they know. Pure; no I/O.

The latency guard leaves out the canary's warm-up. The error guard does not: a failed request has hurt its caller, even
if the replica was new.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from divisions.analysis_spec import AnalysisSpec
from divisions.control import FULL_BP
from divisions.reports import BreakerTrip, SplitReport, VersionReport
from divisions.status import Evidence, Explanation
from router.evidence import sample_ratio
from router.evidence.clustering import INDEPENDENT
from router.evidence.detectable import min_detectable_ratio
from router.evidence.drift import NO_BINS, DriftMonitor, InputBins
from router.evidence.error_evidence import ErrorEvidence
from router.evidence.histogram import Counts, from_sparse, to_sparse
from router.evidence.latency_evidence import ALIKE, LatencyEvidence
from router.evidence.mixture import MixtureSnapshot
from router.evidence.quantiles import MIN_REFERENCE, QUANTILES, PerQuantile
from router.evidence.salts import at_quantiles
from router.evidence.sample_ratio import CONTROLLER_CUSTOMERS, DistinctCustomers
from router.evidence.tolerance import tolerance_of
from router.evidence.windows import RecentCounts, VersionCounts, WarmUp
from router.rollouts import explanations
from router.rollouts.states import Judgement
from router.rollouts.verdict import SAMPLE_RATIO_LN_E

UNLIKE_LOAD = 3
"""Above this multiple of stable's load, the canary's latency says as much about the load as about the version."""
FRESH_S = 6.0
"""A judgement older than this raises no weight. Ticks are judged about 2.5 s after they began."""


class AnalysisSnapshot(msgspec.Struct, frozen=True):
    """What the journal keeps of an analysis every 10 s.

    ``stable`` is the sum of the reference window, ``before`` that of the seconds before the rollout.
    """

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
    is_frozen: bool = False
    before: dict[int, int] = {}
    correlations: tuple[float, ...] = ()


class RolloutAnalysis:
    """Analyses the canary of one rollout from its first tick to its last.

    Args:
        analysis: the settings.
        training: the bins of stable's training data, for the alert on drift from it.
    """

    def __init__(self, analysis: AnalysisSpec, training: InputBins = NO_BINS) -> None:
        self._analysis = analysis
        self.training = training
        self._customers = DistinctCustomers(CONTROLLER_CUSTOMERS)
        self._drift = DriftMonitor()
        self._trip: BreakerTrip | None = None
        self._salt = ""
        self._weight_bp = 0
        self._is_frozen = False
        self._tolerance = tolerance_of(analysis.tolerance, analysis.tolerance_ms)
        self._latency = LatencyEvidence(self._tolerance)
        self._errors = ErrorEvidence()
        self._warm_up = WarmUp(analysis.warmup_s, analysis.warmup_requests)
        self._seen_stable = VersionCounts()
        self._seen_canary = VersionCounts()
        self._stable_recent = RecentCounts()
        self._canary_recent = RecentCounts()
        self._correlations: PerQuantile = INDEPENDENT
        self._known_correlations: PerQuantile = INDEPENDENT
        self._gaps: PerQuantile = ALIKE
        self._reference: Counts = VersionCounts().counts
        self._before: Counts = VersionCounts().counts
        self._last_tick: int | None = None
        self._num_ticks = 0
        self._step_index = 0
        self._step_from_tick = 0
        self._step_requests = 0
        self._step_ticks = 0
        self._left_out_tick = -1
        self._applied_tick: int | None = None
        self._num_applied = 0

    def leave_out(self, tick: int) -> None:
        """Latencies up to this tick are not compared: the arms have unlike capacity while replicas are added."""
        self._left_out_tick = max(self._left_out_tick, tick)

    def applied(self, from_tick: int) -> None:
        """Every gateway splits by the step's weight from this tick on."""
        self._applied_tick = from_tick

    def enter_step(
        self,
        step_index: int,
        from_tick: int,
        *,
        salt: str = "",
        weight_bp: int = 0,
        has_holdback: bool = True,
        gaps: Sequence[float] = (),
    ) -> None:
        """Counts samples, dwell, customers and drift anew, from requests that arrive in ``from_tick`` or later.

        Args:
            step_index: the step's number.
            from_tick: its first tick.
            salt: the salt of the split from now on.
            weight_bp: the canary's weight from now on.
            has_holdback: whether stable keeps traffic. Without it, the canary is compared with stable's last traffic.
            gaps: how unlike its arms were before the rollout, see `router.evidence.salts.gaps`.
        """
        self._gaps = at_quantiles(gaps)
        self._step_index, self._step_from_tick = step_index, from_tick
        self._step_requests = self._step_ticks = 0
        self._applied_tick, self._num_applied = None, 0
        self._salt, self._weight_bp = salt, weight_bp
        self._customers = DistinctCustomers(CONTROLLER_CUSTOMERS)
        self._drift.clear()
        self._is_frozen = not has_holdback

    def add_split(self, report: SplitReport) -> None:
        """Takes a gateway's report of its split. Another salt or weight means an earlier step, which is ignored."""
        if (report.salt, report.weight_bp) != (self._salt, self._weight_bp):
            return
        self._customers.raise_level(report.level)
        self._customers.add(report.stable.digests, is_canary=False)
        self._customers.add(report.canary.digests, is_canary=True)
        self._drift.add_split(report)

    def add_scores(self, report: VersionReport, *, is_canary: bool) -> None:
        self._drift.add_scores(report, is_canary=is_canary)

    def trip(self, trip: BreakerTrip) -> bool:
        """Takes a gateway's report that its breaker has tripped; returns whether it is the first for this rollout."""
        if trip.salt != self._salt or self._trip is not None:
            return False
        self._trip = trip
        return True

    def observe(
        self,
        tick: int,
        reference: Counts,
        stable: VersionCounts,
        canary: VersionCounts,
        correlations: PerQuantile = INDEPENDENT,
    ) -> None:
        """Takes one closed tick in which the canary had weight.

        Args:
            tick: its number; ticks come in rising order.
            reference: stable's requests of the 30 s before the tick.
            stable: stable's requests of the tick.
            canary: the canary's requests of the tick.
            correlations: of stable's requests within one second, from the seconds before the tick.
        """
        # A restarted controller has no correlations at first, so those of the snapshot still count.
        self._correlations = np.maximum(correlations, self._known_correlations)
        if self._last_tick is None and not self._before.any():  # After a restart it is known from the snapshot.
            self._before = reference.copy()
        self._last_tick = tick
        if not self._is_frozen or (int(reference.sum()) >= MIN_REFERENCE and stable.requests):
            self._reference = reference.copy()
        self._num_ticks += 1
        if self._applied_tick is not None and tick >= self._applied_tick:
            self._num_applied += stable.requests
        self._add(self._seen_stable, stable)
        self._add(self._seen_canary, canary)
        is_alone = self._is_frozen and not stable.requests
        if "errors" in self._analysis.guards:
            if is_alone:
                self._errors.update_frozen(self._stable_rate(), canary.requests, canary.errors)
            else:
                self._errors.update(stable.requests, stable.errors, canary.requests, canary.errors)
        if self._warm_up.leaves_out(tick, canary.requests) or tick <= self._left_out_tick:
            return
        if "latency" in self._analysis.guards:
            self._compare(reference, stable.counts, canary.counts, is_alone=is_alone)
        self._stable_recent.add(tick, stable)
        self._canary_recent.add(tick, canary)
        if tick >= self._step_from_tick:
            self._step_requests += canary.requests
            self._step_ticks += 1

    def _compare(self, reference: Counts, stable: Counts, canary: Counts, *, is_alone: bool) -> None:
        correlations, gaps = self._correlations, self._gaps
        if is_alone:
            self._latency.update_frozen(self._reference, canary, correlations)
        elif self._weight_bp > UNLIKE_LOAD * (FULL_BP - self._weight_bp):
            self._latency.update_unlike(self._before, reference, stable, canary, correlations, gaps)
        else:
            self._latency.update(reference, stable, canary, correlations, gaps)

    def judgement(self, now_s: float) -> Judgement:
        return Judgement(
            latency_ln_e=self._latency.ln_e(),
            error_ln_e=self._errors.ln_e(),
            step_index=self._step_index,
            step_requests=self._step_requests,
            step_s=float(self._step_ticks),
            is_fresh=self._last_tick is not None and now_s - self._last_tick <= FRESH_S,
            is_tripped=self._trip is not None,
            sample_ratio_ln_e=sample_ratio.ln_e(*self._customers.counts, self._weight_bp),
            input_drift=self._drift.inputs().index,
            prediction_drift=self._drift.predictions(),
        )

    def _stable_rate(self) -> float:
        """The share of stable's requests that failed during the rollout; never exactly 0."""
        return (self._seen_stable.errors + 1.0) / (self._seen_stable.requests + 100.0)

    def evidence(self) -> Evidence:
        stable, canary = self._stable_recent, self._canary_recent
        ticks = max(1, stable.num_ticks)
        num_stable, num_canary = self._customers.counts
        inputs, training = self._drift.inputs(), self._drift.training(self.training)
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
                self._tolerance.once,
                -math.log(self._analysis.alpha),
                self._analysis.min_dwell_s,
                self._correlations,
            ),
            split_log_e=sample_ratio.ln_e(num_stable, num_canary, self._weight_bp),
            split_threshold=SAMPLE_RATIO_LN_E,
            stable_customers=num_stable,
            canary_customers=num_canary,
            input_drift=inputs.index,
            input_drift_feature=inputs.feature,
            prediction_drift=self._drift.predictions(),
            training_drift=training.index,
            training_drift_feature=training.feature,
            is_frozen=self._is_frozen,
            stable_applied=self._num_applied,
        )

    def explain(self, guard: str = "", reason: str = "") -> Explanation:
        """Why a guard fired, with the counts of the last 30 judged seconds.

        Args:
            guard: its name; empty for latency or errors, whichever is nearer to its threshold.
            reason: the state machine's reason, for a decision that no guard made.
        """
        evidence = self.evidence()
        if not guard:
            is_errors = evidence.error_log_e / evidence.error_threshold > evidence.latency_log_e / evidence.threshold
            guard = "errors" if is_errors else "latency"
        match guard:
            case "breaker" if self._trip is not None:
                return explanations.breaker(self._trip)
            case "errors":
                return explanations.errors(evidence, self._errors.dominant()[0])
            case "latency":
                end = (self._last_tick or 0) + 1
                stable, canary = self._stable_recent.total(end), self._canary_recent.total(end)
                window_s = float(self._canary_recent.num_ticks)
                dominant = self._latency.dominant()
                limits = self._tolerance.once
                return explanations.latency(evidence, dominant, self._reference, limits, stable, canary, window_s)
            case "split":
                return explanations.split(evidence, self._weight_bp)
            case "inputs":
                return explanations.inputs(evidence)
            case "predictions":
                return explanations.predictions(evidence)
            case _:
                return explanations.undecided(evidence, reason)

    def snapshot(self) -> AnalysisSnapshot:
        return AnalysisSnapshot(
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
            is_frozen=self._is_frozen,
            before=to_sparse(self._before),
            correlations=tuple(self._correlations.tolist()),
        )

    def restore(self, snapshot: AnalysisSnapshot) -> None:
        """Goes on from a snapshot. The ticks since then are lost, which costs power but not validity."""
        self._latency.restore(snapshot.latency)
        self._errors.restore(snapshot.errors)
        totals = snapshot.totals
        self._seen_stable = VersionCounts(totals.stable_requests, totals.stable_errors)
        self._seen_canary = VersionCounts(totals.canary_requests, totals.canary_errors)
        self._num_ticks = totals.ticks
        self._reference = from_sparse(snapshot.stable)
        self._before = from_sparse(snapshot.before)
        self._warm_up.first_tick = snapshot.warm_first_tick
        self._warm_up.requests = snapshot.warm_requests
        self._step_index = snapshot.step_index
        self._step_requests, self._step_ticks = snapshot.step_requests, snapshot.step_ticks
        self._is_frozen = snapshot.is_frozen
        if len(snapshot.correlations) == len(QUANTILES):
            self._known_correlations = self._correlations = np.array(snapshot.correlations)

    def resume_step(self, *, salt: str, weight_bp: int, gaps: Sequence[float] = ()) -> None:
        """Sets the salt and weight of the split after `restore`. Customers are counted anew."""
        self._salt, self._weight_bp = salt, weight_bp
        self._gaps = at_quantiles(gaps)

    @staticmethod
    def _add(total: VersionCounts, more: VersionCounts) -> None:
        total.requests += more.requests
        total.errors += more.errors
