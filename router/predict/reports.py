"""What a gateway reports to the controller once a second: counts by version and second, and each rollout's updates."""

from __future__ import annotations

from collections.abc import Iterable

from divisions.reports import EndpointReport, VersionReport
from router.evidence.drift import count_scores
from router.predict import tally
from router.predict.endpoint import Endpoint


def take_reports(
    endpoints: Iterable[Endpoint], before_tick: int, age_s: float, settle_tick: int
) -> dict[int, list[EndpointReport]]:
    """Sums up the seconds before ``before_tick``, by second.

    Args:
        endpoints: those of the routing table in force.
        before_tick: the first second that is not reported yet.
        age_s: the least age of a request that is still pending.
        settle_tick: seconds before this one go into the running totals.
    """
    ticks: dict[int, list[EndpointReport]] = {}
    for endpoint in endpoints:
        versions: dict[int, list[VersionReport]] = {}
        for pool in endpoint.pools:
            pool.tally.settle(settle_tick)
            scores, pool.scores = count_scores(pool.scores), []
            for second in pool.tally.take(before_tick):
                if pool.keeps_keys:
                    endpoint.state.load.add(second.tick, second.keys, second.key_latencies_s)
                summed = tally.report(pool.spec.app_name, second, age_s, scores)
                scores = {}
                versions.setdefault(second.tick, []).append(summed)
        updates = endpoint.updates()
        if any(updates):
            versions.setdefault(before_tick - 1, [])
        last = max(versions, default=0)
        for tick, reports in versions.items():
            further = updates if tick == last else (None, None, None, None)
            ticks.setdefault(tick, []).append(EndpointReport(endpoint.name, tuple(reports), *further))
    return ticks
