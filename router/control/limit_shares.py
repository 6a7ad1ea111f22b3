"""Shares the limits of principals out among the gateways, by what they asked for lately. Pure; time is an argument.

A principal's requests are seldom spread evenly: few connections may all end at one gateway. So a gateway gets most of
a limit in proportion to what the principal asked for there, and a small part in any case, so that it can begin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from divisions.reports import LimitShares

FLOOR: Final = 0.1
"""The part of a limit that all gateways share evenly, asked or not."""
SILENT_S: Final = 5.0
"""A gateway that has not reported for so long has ended."""
HALF_LIFE_S: Final = 1.0
_FORGOTTEN: Final = 0.01


class LimitSharing:
    """See the module."""

    def __init__(self) -> None:
        self._seen_s: dict[str, float] = {}
        self._asked: dict[str, dict[str, tuple[float, float]]] = {}
        """By principal and gateway: how much, and when that was."""

    def report(self, gateway_id: str, asked: tuple[tuple[str, int], ...], now_s: float) -> LimitShares:
        """Takes what principals asked for at a gateway since its last report; returns its parts of their limits."""
        self._seen_s[gateway_id] = now_s
        for name, predictions in asked:
            of_name = self._asked.setdefault(name, {})
            of_name[gateway_id] = (_faded(of_name.get(gateway_id), now_s) + predictions, now_s)
        self._forget(now_s)
        if len(self._seen_s) < 2:
            return LimitShares()
        parts = {}
        for name, of_name in self._asked.items():
            faded = {gateway: _faded(found, now_s) for gateway, found in of_name.items()}
            parts[name] = share(faded, gateway_id, len(self._seen_s))
        return LimitShares(len(self._seen_s), parts)

    def _forget(self, now_s: float) -> None:
        self._seen_s = {gateway: at_s for gateway, at_s in self._seen_s.items() if now_s - at_s < SILENT_S}
        for name in list(self._asked):
            of_name = {
                gateway: found
                for gateway, found in self._asked[name].items()
                if gateway in self._seen_s and _faded(found, now_s) > _FORGOTTEN
            }
            if of_name:
                self._asked[name] = of_name
            else:
                del self._asked[name]


def share(asked: Mapping[str, float], gateway_id: str, gateways: int) -> float:
    """One gateway's part of a limit. The parts of all gateways add up to 1.

    >>> round(share({"a": 30.0, "b": 10.0}, "a", 2), 6)
    0.725
    """
    total = sum(asked.values())
    if total <= 0.0:
        return 1.0 / gateways
    return FLOOR / gateways + (1.0 - FLOOR) * (asked.get(gateway_id, 0.0) / total)


def _faded(found: tuple[float, float] | None, now_s: float) -> float:
    if found is None:
        return 0.0
    asked, at_s = found
    return asked * math.exp2(-max(0.0, now_s - at_s) / HALF_LIFE_S)
