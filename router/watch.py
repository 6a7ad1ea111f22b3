"""What is seen of every endpoint: reports in, judged ticks out. Pure; no I/O.

Every version's last 30 seconds are kept whether or not a rollout runs, so that a rollout starts with thresholds
from traffic before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from divisions.control import AnalysisSpec, GatewayReport
from router.judge import RolloutJudge
from router.windows import ClosedTick, Ledger, RecentCounts, VersionCounts


class Arms(NamedTuple):
    """The applications that a rollout compares."""

    stable: str
    canary: str


class Watch:
    """The ledger of reports, the recent counts of every version, and the judge of every running rollout."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._recent: dict[tuple[str, str], RecentCounts] = {}
        self._judges: dict[str, RolloutJudge] = {}

    def report(self, report: GatewayReport, now_s: float) -> bool:
        return self._ledger.add(report, now_s)

    def begin(self, endpoint: str, analysis: AnalysisSpec) -> RolloutJudge:
        """A new judge for an endpoint's rollout."""
        judge = self._judges[endpoint] = RolloutJudge(analysis)
        return judge

    def end(self, endpoint: str) -> None:
        self._judges.pop(endpoint, None)

    def judge(self, endpoint: str) -> RolloutJudge | None:
        return self._judges.get(endpoint)

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
        return len(closed)

    def gateways(self, now_s: float) -> dict[str, int]:
        """The epoch that each living gateway last reported."""
        return self._ledger.gateways(now_s)

    def _judge_tick(self, closed: ClosedTick, arms: Callable[[str], Arms | None]) -> None:
        for endpoint, versions in closed.endpoints.items():
            judge, compared = self._judges.get(endpoint), arms(endpoint)
            if judge is not None and compared is not None:
                reference = self._recent_of(endpoint, compared.stable).total(closed.tick)
                judge.observe(
                    closed.tick,
                    reference.counts,
                    versions.get(compared.stable) or VersionCounts(),
                    versions.get(compared.canary) or VersionCounts(),
                )
            for app_name, counts in versions.items():
                self._recent_of(endpoint, app_name).add(closed.tick, counts)
        for key in [key for key, recent in self._recent.items() if not recent.total(closed.tick).requests]:
            del self._recent[key]

    def _recent_of(self, endpoint: str, app_name: str) -> RecentCounts:
        return self._recent.setdefault((endpoint, app_name), RecentCounts())
