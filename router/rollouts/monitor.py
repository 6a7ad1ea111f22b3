"""Takes the gateways' reports and feeds complete ticks to the analyses of running rollouts. Pure; no I/O.

Every version's last 30 seconds are kept even when no rollout runs. So a rollout starts with thresholds from the traffic
before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from divisions.analysis_spec import AnalysisSpec
from divisions.reports import EndpointReport, GatewayReport, SaltScores
from router.evidence.clustering import Clustering
from router.evidence.drift import NO_BINS, InputBins
from router.evidence.windows import ClosedTick, Ledger, RecentCounts, VersionCounts
from router.rollouts.analysis import RolloutAnalysis


class Arms(NamedTuple):
    """The applications that a rollout compares."""

    stable: str
    canary: str


class Monitor:
    """The ledger of reports, the recent counts of every version, and the analysis of every running rollout.

    Args:
        on_closed: told of each second that is complete, in rising order.
    """

    def __init__(self, on_closed: Callable[[ClosedTick], None] = lambda tick: None) -> None:
        self._on_closed = on_closed
        self._ledger = Ledger()
        self._recent: dict[tuple[str, str], RecentCounts] = {}
        self._clustering: dict[tuple[str, str], Clustering] = {}
        self._analyses: dict[str, RolloutAnalysis] = {}
        self._salts: dict[str, dict[str, SaltScores]] = {}

    def report(self, report: GatewayReport, now_s: float, arms: Callable[[str], Arms | None]) -> tuple[bool, list[str]]:
        """Takes a report.

        Args:
            report: a gateway's second.
            now_s: the controller's monotonic time.
            arms: the versions that an endpoint's rollout compares now; None when it compares none.

        Returns:
            Whether it counted, and the endpoints whose breaker has tripped, each named once.
        """
        is_counted = self._ledger.add(report, now_s)
        tripped = []
        for entry in report.endpoints:
            if entry.salts is not None:
                self._salts.setdefault(entry.endpoint, {})[report.gateway_id] = entry.salts
            analysis, compared = self._analyses.get(entry.endpoint), arms(entry.endpoint)
            if analysis is None or compared is None:
                continue
            # Gateways repeat a trip until the rollout ends, so it may come late or twice. Counts may not.
            if entry.trip is not None and entry.trip.app_name == compared.canary and analysis.trip(entry.trip):
                tripped.append(entry.endpoint)
            if is_counted:
                _add(analysis, entry, compared)
        return is_counted, tripped

    def begin(self, endpoint: str, analysis: AnalysisSpec, training: InputBins = NO_BINS) -> RolloutAnalysis:
        """A new analysis for an endpoint's rollout."""
        begun = self._analyses[endpoint] = RolloutAnalysis(analysis, training)
        return begun

    def end(self, endpoint: str) -> None:
        self._analyses.pop(endpoint, None)
        self._salts.pop(endpoint, None)

    def salts(self, endpoint: str, base: str) -> list[SaltScores]:
        """How gateways have scored the candidates of a base salt."""
        return [scores for scores in self._salts.get(endpoint, {}).values() if scores.base == base]

    def analysis(self, endpoint: str) -> RolloutAnalysis | None:
        return self._analyses.get(endpoint)

    def close_ticks(self, now_s: float, arms: Callable[[str], Arms | None]) -> int:
        """Judges every tick that is complete.

        Args:
            now_s: the controller's monotonic time.
            arms: the versions that an endpoint's rollout compares now; None when it compares none.

        Returns:
            How many ticks were judged.
        """
        closed = self._ledger.close(now_s)
        for tick in closed:
            self._judge_tick(tick, arms)
            self._on_closed(tick)
        return len(closed)

    def gateways(self, now_s: float) -> dict[str, int]:
        """The epoch that each living gateway last reported."""
        return self._ledger.gateways(now_s)

    def _judge_tick(self, closed: ClosedTick, arms: Callable[[str], Arms | None]) -> None:
        for endpoint, versions in closed.endpoints.items():
            analysis, compared = self._analyses.get(endpoint), arms(endpoint)
            if analysis is not None and compared is not None:
                reference = self._recent_of(endpoint, compared.stable).total(closed.tick)
                analysis.observe(
                    closed.tick,
                    reference.counts,
                    versions.get(compared.stable) or VersionCounts(),
                    versions.get(compared.canary) or VersionCounts(),
                    self._clustering_of(endpoint, compared.stable).correlations(),
                )
            for app_name, counts in versions.items():
                recent = self._recent_of(endpoint, app_name)
                self._clustering_of(endpoint, app_name).add(recent.total(closed.tick).counts, counts.counts)
                recent.add(closed.tick, counts)
        for key in [key for key, recent in self._recent.items() if not recent.total(closed.tick).requests]:
            del self._recent[key], self._clustering[key]

    def _recent_of(self, endpoint: str, app_name: str) -> RecentCounts:
        return self._recent.setdefault((endpoint, app_name), RecentCounts())

    def _clustering_of(self, endpoint: str, app_name: str) -> Clustering:
        return self._clustering.setdefault((endpoint, app_name), Clustering())


def _add(analysis: RolloutAnalysis, entry: EndpointReport, compared: Arms) -> None:
    if entry.split is not None:
        analysis.add_split(entry.split)
    for version in entry.versions:
        if version.app_name in compared:
            analysis.add_scores(version, is_canary=version.app_name == compared.canary)
