"""A token bucket: so many units in a window, at any pace. Pure; time is an argument.

What is asked for may be more than is left. It passes as long as a unit is left, and the bucket goes into debt. Nothing
passes until the debt has run off. So a request that is larger than the bucket is possible, and over time no more
passes than the rate allows.
"""

from __future__ import annotations

from typing import Final

_SMALLEST: Final = 1.0
"""What a bucket holds at least: otherwise a small share of a small limit would never let anything pass."""


class TokenBucket:
    """See the module.

    Args:
        units: in a window.
        window_s: how long a window is.
        share: the part of it that this bucket gives.
        now_s: monotonic time; the bucket is full.
    """

    __slots__ = ("_at_s", "_capacity", "_level", "_per_s", "_units", "_window_s")

    def __init__(self, units: int, window_s: float, share: float, now_s: float) -> None:
        self._units = float(units)
        self._window_s = window_s
        self._at_s = now_s
        self._per_s = 0.0
        self._capacity = 0.0
        self._level = 0.0
        self._set_share(share)
        self._level = self._capacity

    def _set_share(self, share: float) -> None:
        self._per_s = self._units * share / self._window_s
        self._capacity = max(_SMALLEST, self._units * share)

    def share(self, share: float, now_s: float) -> None:
        """Gives another part of the limit from now on. What was saved or owed stays, as far as the bucket holds it."""
        self._refill(now_s)
        self._set_share(share)
        self._level = min(self._level, self._capacity)

    def begin_as(self, other: TokenBucket, now_s: float) -> None:
        """Is as full as another one, or as deep in debt, by its own size."""
        other._refill(now_s)
        self._level = self._capacity * other._level / other._capacity

    def is_full(self, now_s: float) -> bool:
        self._refill(now_s)
        return self._level >= self._capacity

    def take(self, now_s: float) -> bool:
        """Takes one unit, if there is one."""
        self._refill(now_s)
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True

    def charge(self, units: int) -> None:
        """Takes further units of a request that has passed."""
        self._level -= units

    def wait_s(self) -> float:
        """How long after the last `take` a unit is there."""
        return max(0.0, (1.0 - self._level) / self._per_s)

    def _refill(self, now_s: float) -> None:
        # Requests that came together may be handled in another order. Time that goes back adds nothing.
        if now_s > self._at_s:
            self._level = min(self._capacity, self._level + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
