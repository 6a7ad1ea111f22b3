"""The curve of a rollout: weight, evidence, traffic and latencies of both arms over time, in at most 300 points. Pure.

A point is a second at first. When there are too many, every second one goes and a point is twice as long from then on.
So a rollout of any length has a curve from its beginning, and a memory of a fixed size.
"""

from __future__ import annotations

from typing import Final

from divisions.house import RolloutCurve
from divisions.status import HistoryEntry
from router.evidence.windows import VersionCounts
from router.house.traffic import quantile_ms

MOST_POINTS: Final = 300
MOST_MARKS: Final = 60
COLUMNS: Final = (
    "at_s", "weight_bp", "latency_log_e", "error_log_e", "stable_per_s", "canary_per_s", "stable_errors",
    "canary_errors", "stable_p50_ms", "canary_p50_ms", "stable_p99_ms", "canary_p99_ms",
)  # fmt: skip
OVER: Final = frozenset({"PROMOTED", "ROLLED_BACK"})


class CurveRecorder:
    """Records one rollout.

    Args:
        curve: an empty one, or what an earlier controller has saved of the same rollout.
    """

    def __init__(self, curve: RolloutCurve) -> None:
        self._curve = curve
        self._points = list(curve.points)
        self._marks = list(curve.marks)
        self._step_s = curve.step_s
        self._phase = curve.phase
        self._stable, self._canary = VersionCounts(), VersionCounts()
        self._seconds = 0

    @property
    def rollout(self) -> int:
        return self._curve.rollout

    @property
    def phase(self) -> str:
        """The latest that it was told of."""
        return self._phase

    @property
    def is_over(self) -> bool:
        return self._phase in OVER

    def gap(self, at_s: float) -> None:
        """Nothing is known of the time up to now."""
        self._add((round(at_s, 1), *[None] * (len(COLUMNS) - 1)))

    def count(self, stable: VersionCounts | None, canary: VersionCounts | None) -> None:
        """Takes a second's counts of the arms."""
        for total, counts in ((self._stable, stable), (self._canary, canary)):
            if counts is not None:
                total.requests += counts.requests
                total.errors += counts.errors
                total.counts += counts.counts

    def second(self, at_s: float, phase: str, weight_bp: int, log_e: tuple[float, float], message: str) -> bool:
        """Call it once a second until it is over.

        Args:
            at_s: the wall clock.
            phase: of the rollout now.
            weight_bp: the canary's.
            log_e: the evidence of slowness and of errors.
            message: about the phase, if it is new.

        Returns:
            Whether the phase is new.
        """
        self._seconds += 1
        is_new = phase != self._phase
        if is_new:
            self._phase = phase
            self._marks.append(HistoryEntry(at_s, phase, weight_bp, message[:500]))
            del self._marks[:-MOST_MARKS]
        if is_new or self._seconds >= self._step_s:
            self._add(self._point(at_s, weight_bp, log_e))
            self._stable, self._canary, self._seconds = VersionCounts(), VersionCounts(), 0
        return is_new

    def _point(self, at_s: float, weight_bp: int, log_e: tuple[float, float]) -> tuple[float | None, ...]:
        arms = self._stable, self._canary
        rates = [round(arm.requests / self._seconds, 2) for arm in arms]
        errors = [float(arm.errors) for arm in arms]
        quantiles = [quantile_ms(arm.counts, quantile) for quantile in (0.5, 0.99) for arm in arms]
        evidence = [float(f"{value:.4g}") for value in log_e]
        return (round(at_s, 1), float(weight_bp), *evidence, *rates, *errors, *quantiles)

    def _add(self, point: tuple[float | None, ...]) -> None:
        self._points.append(point)
        if len(self._points) > MOST_POINTS:
            # The newest stays: its weight is the present one.
            self._points = self._points[::-1][::2][::-1]
            self._step_s *= 2

    def curve(self) -> RolloutCurve:
        """All of it."""
        before = self._curve
        return RolloutCurve(
            before.endpoint,
            before.rollout,
            before.stable_version,
            before.canary_version,
            self._phase,
            self._step_s,
            COLUMNS,
            tuple(self._points),
            tuple(self._marks),
        )


def new_curve(endpoint: str, rollout: int, stable: str | None, canary: str) -> RolloutCurve:
    """The curve of a rollout that begins now."""
    return RolloutCurve(endpoint, rollout, stable, canary, "", 1, COLUMNS)
