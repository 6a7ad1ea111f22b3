"""What versions are asked for, from the loads that gateways report: rows per second, and what a replica can do. Pure.

A gateway that is late leaves the load unknown. Unknown is neither low nor high: nothing is removed because of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from divisions.reports import GatewayReport, VersionLoad

STALE_S = 4.0
"""A gateway's load older than this is not its load any more. Reports come once a second."""
TRUSTED_GROWTH = 4.0
"""The fit of batch durations is believed up to batches so many times as large as those that were seen."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of one version by all gateways together.

    ``rows_per_s`` counts arrivals: answered, waiting or refused. ``replica_rows_per_s`` is what one replica can do;
    None if no batch has shown it. ``is_pressed``: requests are refused, or more waits than the next batches can take.
    """

    rows_per_s: float
    replica_rows_per_s: float | None
    is_pressed: bool = False


@dataclass(frozen=True, slots=True)
class _Heard:
    at_s: float
    span_s: float
    loads: dict[str, VersionLoad]
    queued_before: dict[str, int]


class LoadLedger:
    """The latest load of every gateway."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def add(self, report: GatewayReport, now_s: float) -> None:
        """Takes a report; those without a load (of earlier seconds, or of an older release) change nothing."""
        if report.load_span_s <= 0.0 or not math.isfinite(report.load_span_s):
            return
        before = self._heard.get(report.gateway_id)
        queued = {name: load.queued for name, load in before.loads.items()} if before else {}
        loads = {load.app_name: load for load in report.loads}
        self._heard[report.gateway_id] = _Heard(now_s, report.load_span_s, loads, queued)

    def demand(self, app_name: str, max_batch: int, gateways: Iterable[str], now_s: float) -> Demand | None:
        """A version's demand; None if a living gateway's load is not known.

        Args:
            app_name: the version's application.
            max_batch: its largest batch.
            gateways: those that live.
            now_s: the controller's monotonic time.
        """
        names = list(gateways)
        heard = [self._heard[name] for name in names if name in self._heard]
        if not names or len(heard) < len(names) or any(now_s - each.at_s > STALE_S for each in heard):
            return None
        rows_per_s = sum(_arrivals(each, app_name) for each in heard)
        loads = [each.loads[app_name] for each in heard if app_name in each.loads]
        is_pressed = any(load.refused for load in loads) or any(
            load.queued > max_batch * max(1, load.channels) for load in loads
        )
        return Demand(rows_per_s, replica_rate(loads, max_batch), is_pressed)

    def forget(self, gateways: Iterable[str]) -> None:
        """Drops all gateways but these."""
        kept = set(gateways)
        self._heard = {name: heard for name, heard in self._heard.items() if name in kept}


def _arrivals(heard: _Heard, app_name: str) -> float:
    load = heard.loads.get(app_name)
    if load is None:
        return 0.0
    grown = max(0, load.queued - heard.queued_before.get(app_name, 0))
    return (load.rows + grown + load.refused) / heard.span_s


def replica_rate(loads: Sequence[VersionLoad], max_batch: int) -> float | None:
    """How many rows per second one replica can do, in batches as large as the fit is known for.

    Gateways' fits are weighted by their batches. None if no gateway has seen a batch.
    """
    known = [load for load in loads if load.batches and load.intercept_s + load.slope_s > 0.0]
    weight = sum(load.batches for load in known)
    if not weight:
        return None
    intercept_s = sum(load.intercept_s * load.batches for load in known) / weight
    slope_s = sum(load.slope_s * load.batches for load in known) / weight
    mean_rows = sum(load.rows for load in known) / weight
    rows = max(1.0, min(float(max_batch), TRUSTED_GROWTH * mean_rows))
    return rows / (intercept_s + slope_s * rows)
