"""Rows of the prediction log over all gateways. Pure.

A gateway counts from its own start, and one that ends takes nothing away: what it told stays in the totals.
"""

from __future__ import annotations

from collections import Counter

from divisions.prediction_log import LogCount
from divisions.reports import GatewayReport

FORGET_S = 86_400.0
_KEPT = ""
Counts = dict[tuple[str, str, str], int]
"""Rows by endpoint, version and reason; no reason for those that were kept."""


class LogTotals:
    """Of the gateways that live, and of those that have ended since the controller's start."""

    def __init__(self) -> None:
        self._totals: Counter[tuple[str, str, str]] = Counter()
        self._last: dict[str, tuple[float, Counts]] = {}

    def report(self, report: GatewayReport, now_s: float) -> None:
        """Takes what a gateway has counted since its start."""
        if not report.logged:
            return
        _, before = self._last.get(report.gateway_id, (0.0, {}))
        counts = {
            (each.endpoint, each.version, reason): rows
            for each in report.logged
            for reason, rows in {_KEPT: each.kept, **each.lost}.items()
        }
        for key, rows in counts.items():
            self._totals[key] += max(0, rows - before.get(key, 0))
        self._last[report.gateway_id] = (now_s, counts)
        for gateway_id, (heard_s, _) in list(self._last.items()):
            if now_s - heard_s > FORGET_S:
                del self._last[gateway_id]

    def totals(self) -> tuple[LogCount, ...]:
        """By endpoint and version."""
        names = sorted({key[:2] for key in self._totals})
        return tuple(self._count(endpoint, version) for endpoint, version in names)

    def _count(self, endpoint: str, version: str) -> LogCount:
        lost = {
            reason: rows
            for (name, label, reason), rows in sorted(self._totals.items())
            if (name, label) == (endpoint, version) and reason != _KEPT and rows
        }
        return LogCount(endpoint, version, self._totals[endpoint, version, _KEPT], lost)
