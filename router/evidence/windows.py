"""Merges gateways' reports into ticks for the guards: each once, in order, by the second of *arrival*.

A request counts in the tick in which it arrived, not the one in which it ended. Otherwise a canary that hangs would
report only its fast answers. So a gateway reports a tick about two seconds after it began. By then every request of it
has ended, or is known to have taken at least a second.

Reports merge once by (gateway, epoch, tick). A repeated report is ignored. A late or lost one costs power but not
validity, because the guards never look at a tick twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from divisions.reports import GatewayReport
from router.evidence.histogram import Counts, empty, from_sparse

MAX_WAIT_S = 5.0
"""How long a tick waits for a gateway's report. Reports are due 2 s after the tick began."""
GATEWAY_LIVES_S = 8.0
"""A gateway that has not reported for so long is not waited for."""
CLOCKS_DIFFER_S = 30.0
"""A report that differs by more comes from a host whose monotonic clock started at another time."""
REFERENCE_S = 30
WARMUP_SHARE = 0.1
"""One tick can move the evidence by no more than its cap, so a few warm-up requests in it decide nothing."""


@dataclass(slots=True)
class VersionCounts:
    """All gateways' counts of one version, of the requests that arrived in one tick."""

    requests: int = 0
    errors: int = 0
    counts: Counts = field(default_factory=empty)


@dataclass(frozen=True, slots=True)
class ClosedTick:
    """One second, complete. ``endpoints`` maps endpoint to version (`VersionSpec.app_name`) to its counts."""

    tick: int
    endpoints: Mapping[str, Mapping[str, VersionCounts]]


@dataclass(slots=True)
class _Gateway:
    offset: int
    last_tick: int
    heard_s: float
    epoch: int


class Ledger:
    """Collects reports and returns complete ticks in rising order, each once."""

    def __init__(self) -> None:
        self._gateways: dict[str, _Gateway] = {}
        self._pending: dict[int, dict[str, dict[str, VersionCounts]]] = {}
        self._seen: dict[int, set[tuple[str, int]]] = {}
        self._last_closed = -(2**62)

    def add(self, report: GatewayReport, now_s: float) -> bool:
        """Takes a report that arrived at ``now_s`` (the controller's monotonic clock).

        Returns:
            Whether it counted: not if it is a repetition, or if its tick was closed already.

        Raises:
            ReportError: it makes no sense; all of it was ignored.
        """
        parsed = [
            (entry.endpoint, version, from_sparse(version.buckets))
            for entry in report.endpoints
            for version in entry.versions
        ]
        tick = self._aligned(report, now_s)
        key = (report.gateway_id, report.epoch)
        if tick <= self._last_closed or key in self._seen.get(tick, ()):
            return False
        self._seen.setdefault(tick, set()).add(key)
        endpoints = self._pending.setdefault(tick, {})
        for endpoint, version, counts in parsed:
            merged = endpoints.setdefault(endpoint, {}).setdefault(version.app_name, VersionCounts())
            merged.requests += version.requests
            merged.errors += version.errors
            merged.counts += counts
        return True

    def close(self, now_s: float) -> list[ClosedTick]:
        """The ticks that are complete, or have waited long enough, in order."""
        live = [gateway for gateway in self._gateways.values() if now_s - gateway.heard_s <= GATEWAY_LIVES_S]
        closed = []
        for tick in sorted(self._pending):
            if now_s - tick < MAX_WAIT_S and any(gateway.last_tick < tick for gateway in live):
                break
            closed.append(ClosedTick(tick, self._pending.pop(tick)))
            self._seen.pop(tick)
            self._last_closed = tick
        return closed

    def gateways(self, now_s: float) -> dict[str, int]:
        """The epoch that each living gateway last reported."""
        self._gateways = {
            name: gateway for name, gateway in self._gateways.items() if now_s - gateway.heard_s <= 2 * MAX_WAIT_S
        }
        return {
            name: gateway.epoch
            for name, gateway in self._gateways.items()
            if now_s - gateway.heard_s <= GATEWAY_LIVES_S
        }

    def _aligned(self, report: GatewayReport, now_s: float) -> int:
        """The report's tick on the controller's clock; hosts' monotonic clocks start at different times."""
        known = self._gateways.get(report.gateway_id)
        offset = known.offset if known else 0
        if abs(report.tick + offset - now_s) > CLOCKS_DIFFER_S:
            offset = int(now_s) - 2 - report.tick
        tick = report.tick + offset
        last_tick = max(tick, known.last_tick) if known and known.offset == offset else tick
        epoch = max(report.epoch, known.epoch) if known else report.epoch
        self._gateways[report.gateway_id] = _Gateway(offset, last_tick, now_s, epoch)
        return tick


class RecentCounts:
    """A version's requests of the last ``span_s`` ticks, and their sum."""

    def __init__(self, span_s: int = REFERENCE_S) -> None:
        self._span_s = span_s
        self._ticks: deque[tuple[int, VersionCounts]] = deque()
        self._total = VersionCounts()

    def total(self, before_tick: int) -> VersionCounts:
        """The sum over the ticks in ``[before_tick - span_s, before_tick)``. The caller must not change it."""
        while self._ticks and self._ticks[0][0] < before_tick - self._span_s:
            self._subtract(self._ticks.popleft()[1])
        return self._total

    def add(self, tick: int, counts: VersionCounts) -> None:
        """Adds a tick; ticks come in rising order."""
        self._ticks.append((tick, counts))
        self._total.requests += counts.requests
        self._total.errors += counts.errors
        self._total.counts += counts.counts
        self.total(tick + 1)

    @property
    def num_ticks(self) -> int:
        return len(self._ticks)

    def _subtract(self, counts: VersionCounts) -> None:
        self._total.requests -= counts.requests
        self._total.errors -= counts.errors
        self._total.counts -= counts.counts


@dataclass(slots=True)
class WarmUp:
    """Leaves out a new version's first ``warmup_s`` seconds or ``warmup_requests`` requests, whichever ends first.

    Caches fill and threads start during warm-up, so slowness only then is no regression. Whole ticks are left out. A
    tick with at most `WARMUP_SHARE` of warm-up requests counts, because its other requests should not wait for a
    second.
    """

    warmup_s: float
    warmup_requests: int
    first_tick: int | None = None
    requests: int = 0

    def leaves_out(self, tick: int, requests: int) -> bool:
        if self.first_tick is None:
            if requests == 0:
                return True
            self.first_tick = tick
        is_warming = self.warmup_requests - self.requests > WARMUP_SHARE * requests
        is_over = tick - self.first_tick >= self.warmup_s or not is_warming
        self.requests += requests
        return not is_over
