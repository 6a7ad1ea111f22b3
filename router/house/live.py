"""The live metrics: what the tiles of the page show. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from divisions.control import FULL_BP
from divisions.drift import DriftSummary
from divisions.house import LiveMetrics, RolloutLine, VersionTraffic
from divisions.house_rows import (
    RegistryTable,
)
from divisions.inventory import PipelineState
from router.evidence.windows import VersionCounts
from router.house.traffic import Traffic, mean_ms, quantile_ms


def live(
    traffic: Traffic,
    rollouts: Sequence[RolloutLine],
    registry: RegistryTable,
    pipelines: Sequence[PipelineState] | None,
    drift: Sequence[DriftSummary],
    at_s: float,
) -> LiveMetrics:
    """What is known now.

    Args:
        traffic: of the last seconds.
        rollouts: say which version of an endpoint is what.
        registry: its table.
        pipelines: those with a trigger; None if the schedule is not known.
        drift: of every endpoint.
        at_s: the controller's clock.
    """
    total, seconds = traffic.total, traffic.seconds
    is_known = seconds > 0
    return LiveMetrics(
        at_s=at_s,
        window_s=seconds,
        active_pipelines=_count(pipelines, lambda each: each.is_active),
        running_pipelines=_count(pipelines, lambda each: each.is_running),
        scheduled_pipelines=_count(pipelines, lambda each: True),
        late_pipelines=_count(pipelines, lambda each: each.lag_s > 0),
        paused_pipelines=_count(pipelines, lambda each: each.is_paused),
        models=registry.models,
        versions_total=registry.total,
        pending_versions=registry.pending,
        latency_ms=mean_ms(total.counts),
        latency_before_ms=traffic.before_ms,
        latency_trend=traffic.trend,
        drift_alerts=sum(len(each.alerts) for each in drift),
        drift_unknown=sum(each.state in ("unknown", "warming") for each in drift),
        requests=total.requests if is_known else None,
        errors=total.errors if is_known else None,
        requests_per_s=_rate(total.requests, seconds) if is_known else None,
        errors_per_s=_rate(total.errors, seconds) if is_known else None,
        p50_ms=quantile_ms(total.counts, 0.5),
        p90_ms=quantile_ms(total.counts, 0.9),
        p99_ms=quantile_ms(total.counts, 0.99),
        versions=_versions(traffic, rollouts),
    )


def _count(states: Sequence[PipelineState] | None, counts: Callable[[PipelineState], bool]) -> int | None:
    return sum(map(counts, states)) if states is not None else None


def _versions(traffic: Traffic, rollouts: Sequence[RolloutLine]) -> tuple[VersionTraffic, ...]:
    """Every version that has weight or traffic, the stable one of an endpoint first."""
    rows: dict[tuple[str, str], VersionTraffic] = {}
    seconds = traffic.seconds
    for line in rollouts:
        for version, role, weight_bp in _arms(line):
            app_name = f"{line.model}-v{version}"
            counts = traffic.of(line.endpoint, app_name) or VersionCounts()
            rows[line.endpoint, app_name] = _row(line.endpoint, app_name, role, weight_bp, counts, seconds)
    for endpoint, app_name in traffic.keys:
        seen = traffic.of(endpoint, app_name)
        if (endpoint, app_name) not in rows and seen is not None:
            rows[endpoint, app_name] = _row(endpoint, app_name, "", 0, seen, seconds)
    return tuple(rows[key] for key in sorted(rows, key=lambda key: key[0]))


def _arms(line: RolloutLine) -> list[tuple[str, str, int]]:
    """Version, role and weight of those that have traffic now."""
    stable, canary = line.stable_version, line.canary_version
    if line.phase == "PROMOTED" or canary is None or canary == stable:
        return [(stable, "stable", FULL_BP)] if stable is not None else []
    arms = [(stable, "stable", FULL_BP - line.actual_weight_bp)] if stable is not None else []
    return [*arms, (canary, "canary", line.actual_weight_bp)] if line.phase != "ROLLED_BACK" else arms


def _row(
    endpoint: str, app_name: str, role: str, weight_bp: int, counts: VersionCounts, seconds: int
) -> VersionTraffic:
    model, _, version = app_name.rpartition("-v")
    return VersionTraffic(
        endpoint,
        model,
        version,
        role,
        weight_bp,
        counts.requests,
        counts.errors,
        _rate(counts.requests, seconds),
        _rate(counts.errors, seconds),
        round(counts.errors / counts.requests, 6) if counts.requests else None,
        mean_ms(counts.counts),
        *[quantile_ms(counts.counts, each) for each in (0.5, 0.9, 0.99)],
    )


def _rate(count: int, seconds: int) -> float:
    return round(count / seconds, 2) if seconds else 0.0
