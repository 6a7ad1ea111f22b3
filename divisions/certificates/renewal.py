"""When a certificate is renewed. Pure."""

from __future__ import annotations

RENEWED_AT = 1 / 3
"""Share of its lifetime after which a certificate is renewed. The controller may be away for the rest."""
RETRY_S = 1.0


class Renewal:
    """The times of one certificate, by this node's own clock: the clocks of two nodes may differ."""

    def __init__(self) -> None:
        self._obtained_s = 0.0
        self._renewed_s = 0.0
        self._tried_s = -RETRY_S

    def is_due(self, wall_s: float, monotonic_s: float) -> bool:
        """Whether to ask for a certificate now. A wall clock that jumps, forward or back, makes one due."""
        if monotonic_s - self._tried_s < RETRY_S:
            return False
        return not self._obtained_s <= wall_s < self._renewed_s

    def tried(self, monotonic_s: float) -> None:
        """An attempt begins; the next one is at least `RETRY_S` later."""
        self._tried_s = monotonic_s

    def obtained(self, lifetime_s: float, wall_s: float) -> None:
        self._obtained_s = wall_s
        self._renewed_s = wall_s + lifetime_s * RENEWED_AT
