"""What a gateway has refused on control routes, counted for the audit log. Pure; time is an argument.

One line in the log stands for all refusals of one kind within `INTERVAL_S`: who, from where, what for, which status. So
a hundred thousand refusals are a few lines. Kinds are bounded, too. Callers whose token is known have places of their
own: those that nobody knows cannot push what a principal has tried into the line of all others.
"""

from __future__ import annotations

import math
from typing import Final

from divisions.reports import Refused
from router.http.wrong_tokens import network_of

INTERVAL_S: Final = 60.0
MAX_KNOWN: Final = 50
MAX_UNKNOWN: Final = 10
OTHERS: Final = "(others)"
UNKNOWN: Final = "(unknown)"

_Kind = tuple[str, str, str, str, str, int]


class RefusedCounts:
    """See the module."""

    def __init__(self) -> None:
        self._counts: dict[_Kind, int] = {}
        self._num_unknown = 0
        self._begun_s = -math.inf

    def add(self, now_s: float, who: str, role: str, address: str, action: str, subject: str, status: int) -> None:
        """Counts a refusal. ``who`` is empty for a caller whom nobody knows."""
        if not self._counts:
            self._begun_s = now_s
        kind = (who or UNKNOWN, role, network_of(address), action, subject, status)
        if kind not in self._counts:
            if not self._has_room(is_known=bool(who)):
                kind = (OTHERS, "", "", OTHERS, "", status)
            self._num_unknown += kind not in self._counts and kind[0] == UNKNOWN
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def due(self, now_s: float) -> tuple[Refused, ...]:
        """What is to be written down now: nothing before the interval is over. It stays until `sent`."""
        if now_s - self._begun_s < INTERVAL_S:
            return ()
        return tuple(Refused(*kind, count) for kind, count in self._counts.items())

    def sent(self, refused: tuple[Refused, ...], now_s: float) -> None:
        """These were taken over. What came meanwhile stays."""
        for each in refused:
            kind = (each.who, each.role, each.address, each.action, each.subject, each.status)
            left = self._counts.pop(kind) - each.count
            if left:
                self._counts[kind] = left
        self._num_unknown = sum(kind[0] == UNKNOWN for kind in self._counts)
        self._begun_s = now_s

    def _has_room(self, *, is_known: bool) -> bool:
        if is_known:
            return len(self._counts) - self._num_unknown < MAX_KNOWN
        return self._num_unknown < MAX_UNKNOWN
