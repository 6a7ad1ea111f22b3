"""How long a batch of n rows takes: a running straight-line fit, duration(n) = intercept + slope * n. Pure."""

from __future__ import annotations

from typing import Final

_DECAY: Final = 0.98  # weight of the past per batch: about the last 50 batches count


class ServiceTime:
    """Exponentially weighted least squares over (rows, seconds) of finished batches.

    Before the first batch it predicts zero, so that nothing is refused without evidence. Noise can make slope or
    intercept negative; they are taken as zero then.
    """

    __slots__ = ("_weight", "_x", "_xx", "_xy", "_y", "intercept_s", "slope_s")

    def __init__(self) -> None:
        self._weight = self._x = self._xx = self._y = self._xy = 0.0
        self.intercept_s = 0.0
        self.slope_s = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        self._weight = self._weight * _DECAY + 1.0
        self._x = self._x * _DECAY + rows
        self._xx = self._xx * _DECAY + rows * rows
        self._y = self._y * _DECAY + seconds
        self._xy = self._xy * _DECAY + rows * seconds
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x * mean_x
        covariance = self._xy / self._weight - mean_x * mean_y
        slope = covariance / variance if variance > 1e-9 else 0.0
        self.slope_s = max(0.0, min(slope, mean_y / mean_x))
        self.intercept_s = max(0.0, mean_y - self.slope_s * mean_x)

    def predict_s(self, rows: int) -> float:
        return self.intercept_s + self.slope_s * rows

    def rows_within(self, seconds: float) -> int:
        """The largest batch that finishes within ``seconds``; at least 0, and very large while nothing is known."""
        if self.slope_s <= 0.0:
            return 1 << 30 if seconds >= self.intercept_s else 0
        return max(0, int((seconds - self.intercept_s) / self.slope_s))
