"""What a gateway keeps of one rollout's split: which customers each arm got, the breaker, the trial of salts. Pure.

The hot path only appends. `report`, once a second, and `sweep`, a hundred times a second, do the rest. A monitor lives
as long as its rollout, and each rollout has its own salt. Endpoints are built anew for every routing table.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from divisions.reports import ArmSample, BreakerTrip, SaltScores, SplitReport
from divisions.schema import FeatureSchema
from router.evidence.drift import FeatureBins, InputBins, count_inputs
from router.evidence.salts import CustomerLoad, SaltTrial
from router.evidence.sample_ratio import GATEWAY_CUSTOMERS, DistinctCustomers
from router.predict.circuit_breaker import LN_THRESHOLD, CircuitBreaker
from router.predict.tally import Counted

MAX_ROWS: Final = 256
"""Rows per arm and second whose features are counted."""


_ALL_BITS: Final = (1 << 64) - 1
"""A mask that only a digest of zeros passes, so in practice none."""


class Arm:
    """What the hot path keeps for the next report, each customer once. `record` is its whole cost there.

    Args:
        mask: customers are counted only if these low bits of their digests are zero.
    """

    __slots__ = ("digests", "mask", "rows")

    def __init__(self, mask: int = 0) -> None:
        self.mask = mask
        self.digests: set[int] = set()
        self.rows: list[tuple[int, bytes | memoryview]] = []

    def record(self, digest: int, payload: bytes | memoryview) -> None:
        if self.mask and digest & self.mask:
            return
        self.digests.add(digest)
        if len(self.rows) < MAX_ROWS:
            self.rows.append((digest, payload))


class SplitMonitor:
    """See the module.

    Args:
        salt: the rollout's.
        app_name: the canary's application.
        weight_bp: the canary's weight.
        bins: the bins of stable's training data.
        schemas: stable's and the canary's.
        counted: totals of both before this rollout; the breaker ignores them.
        is_recording: whether requests are recorded. Only a benchmark turns it off.
    """

    def __init__(
        self,
        salt: str,
        app_name: str,
        weight_bp: int,
        bins: InputBins,
        schemas: tuple[FeatureSchema, FeatureSchema],
        counted: tuple[Counted, Counted] | None = None,
        *,
        is_recording: bool = True,
    ) -> None:
        self.salt = salt
        self.app_name = app_name
        self.weight_bp = weight_bp
        self.breaker = CircuitBreaker(weight_bp)
        self._is_recording = is_recording
        self._customers = DistinctCustomers(GATEWAY_CUSTOMERS)
        self.stable = Arm(self._mask)
        self.canary = Arm(self._mask)
        self._schemas = schemas
        self._bins: tuple[FeatureBins, ...] = ()
        self.has_bins = False
        self.set_bins(bins)
        self._stable_seen, self._canary_seen = counted or (Counted(), Counted())

    @property
    def is_tripped(self) -> bool:
        return self.breaker.is_tripped

    def set_bins(self, bins: InputBins) -> None:
        """Takes the bins of stable's training data; they may come after the rollout's start."""
        self.has_bins = bool(bins.histograms)
        self._bins = bins.common(*self._schemas)

    def set_weight(self, weight_bp: int) -> None:
        """The canary's weight has changed: customers are counted anew; the breaker keeps its evidence."""
        if weight_bp == self.weight_bp:
            return
        self.weight_bp = weight_bp
        self.breaker.set_weight(weight_bp)
        self._customers = DistinctCustomers(GATEWAY_CUSTOMERS)
        self.stable, self.canary = Arm(self._mask), Arm(self._mask)

    def sweep(self, stable: Counted, canary: Counted) -> bool:
        """Tells the breaker what has been counted since the last sweep; returns whether it trips now.

        Args:
            stable: running totals of the judged requests that were sent to stable.
            canary: the same of the canary.
        """
        before = (self._stable_seen, self._canary_seen)
        self._stable_seen, self._canary_seen = stable, canary
        return self.breaker.update(
            stable.requests - before[0].requests,
            stable.errors - before[0].errors,
            canary.requests - before[1].requests,
            canary.errors - before[1].errors,
        )

    def report(self) -> SplitReport | None:
        """How customers were split since the last report; None without customers, or once the breaker has tripped."""
        stable, canary = self.stable, self.canary
        self.stable, self.canary = Arm(self._mask), Arm(self._mask)
        if self.is_tripped or not (stable.digests or canary.digests):
            return None
        samples = [
            self._sample(arm, schema, is_canary=is_canary)
            for arm, schema, is_canary in ((stable, self._schemas[0], False), (canary, self._schemas[1], True))
        ]
        names = tuple(bins.feature.name for bins in self._bins)
        return SplitReport(self.salt, self.weight_bp, self._customers.level, samples[0], samples[1], names)

    def _sample(self, arm: Arm, schema: FeatureSchema, *, is_canary: bool) -> ArmSample:
        new = self._customers.add(arm.digests, is_canary=is_canary)
        if not self._bins:
            return ArmSample(tuple(new))
        known = set(new)
        fresh = {digest: payload for digest, payload in arm.rows if digest in known}
        rows_NF = np.frombuffer(b"".join(fresh.values()), dtype="<f4").reshape(len(fresh), schema.num_columns)
        return ArmSample(tuple(new), count_inputs(self._bins, schema, rows_NF), len(fresh))

    @property
    def _mask(self) -> int:
        return (1 << self._customers.level) - 1 if self._is_recording else _ALL_BITS

    def trip(self) -> BreakerTrip | None:
        """What the controller is told once the breaker has tripped."""
        if not self.is_tripped:
            return None
        breaker = self.breaker
        return BreakerTrip(
            self.salt,
            self.app_name,
            breaker.ln_e,
            LN_THRESHOLD,
            breaker.stable_requests,
            breaker.stable_errors,
            breaker.canary_requests,
            breaker.canary_errors,
        )


class SaltSearch:
    """The trial of salts before a rollout's first step, one salt per sweep."""

    def __init__(self, load: CustomerLoad) -> None:
        self._load = load
        self._trial: SaltTrial | None = None

    def sweep(self, base: str, weights_bp: tuple[int, ...], now_tick: int) -> None:
        """Tries one more salt for ``base``; begins a trial if there is none. Without weights the trial ends."""
        if not weights_bp:
            self._trial = None
        elif self._trial is None or self._trial.base != base:
            self._trial = SaltTrial(base, weights_bp, self._load, now_tick)
        elif not self._trial.is_done:
            self._trial.step()

    def scores(self) -> SaltScores | None:
        return self._trial.scores() if self._trial is not None else None
