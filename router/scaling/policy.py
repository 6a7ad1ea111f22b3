"""How many replicas a version should have. Pure: demands by second in, a number and its reason out.

Up fast, down slowly:

1. **Up** as soon as the demand of the last seconds needs more than there are, straight to what it needs, at most
   doubling every `UP_PAUSE_S`. Refused or piled-up requests add half, also where the measured rate says otherwise.
2. **Down** to the most that was needed at any second of the last ``scale_down_after_s``. That needs `COVERAGE` of
   these seconds to be known: a late report, a silent gateway or a new controller never removes a replica.
3. **Hysteresis.** A replica is removed only if the others would then be used by less than `DOWN_MARGIN` of the
   target. So a demand that stays within a tenth of itself changes nothing after the first time.
4. Never below what the present demand needs, never outside the limits.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from divisions.scaling import Scaling
from router.scaling.load import Demand

UP_PAUSE_S = 3.0
"""New replicas take seconds to start. What is decided more often than this is decided on the same facts."""
MEAN_S = 3.0
"""The demand is averaged over this time: one second's chance arrivals need no replica."""
PRESSED_S = 2
"""Seconds in a row with refused or piled-up requests before half is added."""
PRESS_PAUSE_S = 10.0
"""How long replicas that were added may take to help before pressure adds more."""
DOWN_PAUSE_S = 10.0
"""Between two removals. While the window slides over the edge of a peak, every second would remove one more."""
DOWN_MARGIN = 0.85
COVERAGE = 0.9
RATE_MEMORY_S = 20
"""What one replica can do is the median over so many seconds: replicas that start take processors from the others."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The number of replicas, and the use of the present ones; ``reason`` is empty where nothing changes."""

    replicas: int
    reason: str = ""


def needed(rows_per_s: float, replica_rows_per_s: float, utilization: float) -> int:
    """How many replicas a demand needs, at least one."""
    return max(1, math.ceil(rows_per_s / (replica_rows_per_s * utilization) - 1e-9))


class Sizer:
    """Follows one version's demand. `observe` once a second, then `decide`."""

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling
        self._recent: deque[tuple[float, float]] = deque()
        self._needs: deque[tuple[int, int]] = deque()
        self._rates: deque[float] = deque(maxlen=RATE_MEMORY_S)
        self._num_pressed = 0
        self._raised_s = -math.inf
        self._lowered_s = -math.inf
        self._first_s: float | None = None

    @property
    def replica_rows_per_s(self) -> float | None:
        """What one replica can do; None if it is not known yet."""
        return sorted(self._rates)[len(self._rates) // 2] if self._rates else None

    @property
    def rows_per_s(self) -> float | None:
        """The demand of the last seconds; None if it is not known."""
        return sum(rows for _, rows in self._recent) / len(self._recent) if self._recent else None

    def observe(self, demand: Demand | None, now_s: float) -> None:
        """Takes the demand of the second before ``now_s``; None if it is not known."""
        while self._recent and self._recent[0][0] <= now_s - MEAN_S:
            self._recent.popleft()
        if demand is None or not math.isfinite(demand.rows_per_s):
            self._num_pressed = 0
            return
        self._first_s = now_s if self._first_s is None else self._first_s
        self._recent.append((now_s, max(0.0, demand.rows_per_s)))
        if demand.replica_rows_per_s:
            self._rates.append(demand.replica_rows_per_s)
        self._num_pressed = self._num_pressed + 1 if demand.is_pressed else 0
        self._remember(now_s)

    def _remember(self, now_s: float) -> None:
        """Notes what this second needs, with the margin that removing a replica asks for."""
        need = self._need(self.scaling.target_utilization * DOWN_MARGIN)
        if need is None:
            return
        second = int(now_s)
        if self._needs and self._needs[-1][0] >= second:  # Two reports of one second, or a clock that went back.
            self._needs[-1] = self._needs[-1][0], max(need, self._needs[-1][1])
        else:
            self._needs.append((second, need))
        while self._needs and self._needs[0][0] <= second - self.scaling.scale_down_after_s:
            self._needs.popleft()

    def _need(self, utilization: float) -> int | None:
        rows_per_s, rate = self.rows_per_s, self.replica_rows_per_s
        if rows_per_s is None:
            return None
        if not rows_per_s:
            return 1
        return None if rate is None else needed(rows_per_s, rate, utilization)

    def need_for(self, rows_per_s: float) -> int:
        """How many replicas another demand would need, within the limits; the minimum while nothing is known."""
        rate = self.replica_rows_per_s
        need = needed(rows_per_s, rate, self.scaling.target_utilization) if rate else 1
        return self._limited(need)

    def decide(self, present: int, now_s: float) -> Decision:
        """The number from now on.

        Args:
            present: the number now, ready or starting.
            now_s: the controller's monotonic time.
        """
        scaling = self.scaling
        inside = self._limited(present)
        if inside != present:
            return Decision(inside, f"its limits are {scaling.min} and {scaling.max}")
        need = self._need(scaling.target_utilization)
        wanted, why = present if need is None else need, self._words(need)
        if self._is_pressed(now_s) and wanted <= present:
            wanted = present + math.ceil(present / 2)
            why = "requests are refused or pile up: half is added"
        if self._limited(wanted) > present:
            if now_s - self._raised_s < UP_PAUSE_S:
                return Decision(present)
            self._raised_s = now_s
            return Decision(self._limited(min(wanted, max(2 * present, present + 2))), why)
        most = self._most(now_s)
        if most is not None and need is not None:
            lower = self._limited(max(most, need))
            if lower < present and now_s - self._lowered_s >= min(DOWN_PAUSE_S, scaling.scale_down_after_s / 4):
                self._lowered_s = now_s
                return Decision(lower, f"no more was needed for {scaling.scale_down_after_s:g} s")
        return Decision(present)

    def _is_pressed(self, now_s: float) -> bool:
        return self._num_pressed >= PRESSED_S and now_s - self._raised_s >= PRESS_PAUSE_S

    def _most(self, now_s: float) -> int | None:
        """The most that any second of the window needed; None unless nearly all of its seconds are known."""
        after_s = self.scaling.scale_down_after_s
        known = [need for second, need in self._needs if second > now_s - after_s]
        if self._first_s is None or now_s - self._first_s < after_s or len(known) < COVERAGE * after_s:
            return None
        return max(known, default=None)

    def _limited(self, count: int) -> int:
        return min(max(count, self.scaling.min), self.scaling.max)

    def _words(self, need: int | None) -> str:
        rows_per_s, rate = self.rows_per_s, self.replica_rows_per_s
        if need is None or rows_per_s is None or rate is None:
            return ""
        share = self.scaling.target_utilization
        return f"{rows_per_s:,.0f} rows/s at {share:.0%} of {rate:,.0f} rows/s per replica need {need}"
