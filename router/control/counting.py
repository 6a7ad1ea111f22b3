"""Counts for the inventory (`divisions.inventory`), from what the registry, the schedule and Ray tell. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from divisions.inventory import GpuNode, PipelineState, RunCount, VersionCount
from divisions.schedule.state import Entry, Outcome, Phase, Schedule
from divisions.versions import RegisteredVersion
from router.house.tables import stage_of
from router.scaling.placement import Cluster


def versions(found: Iterable[RegisteredVersion]) -> tuple[VersionCount, ...]:
    """Each version counts once, in the first state that holds: what serves, then what is archived, then the rest."""
    counts = Counter((version.model, stage_of(version).lower()) for version in found)
    return tuple(VersionCount(*key, count) for key, count in sorted(counts.items()))


def runs(counts: Mapping[tuple[str, str], int]) -> tuple[RunCount, ...]:
    """By pipeline and status."""
    return tuple(RunCount(*key, count) for key, count in sorted(counts.items()))


def pipelines(schedule: Schedule, now_s: float) -> tuple[PipelineState, ...]:
    return tuple(
        PipelineState(
            entry.pipeline,
            is_active=not entry.is_paused and not entry.fault,
            is_running=entry.run is not None and entry.run.phase is Phase.STARTED,
            lag_s=_lag_s(entry, now_s),
            has_failed=entry.last is not None and entry.last.outcome in (Outcome.FAILED, Outcome.LOST),
            is_paused=entry.is_paused,
        )
        for entry in schedule.entries
    )


def _lag_s(entry: Entry, now_s: float) -> float:
    """A time that waits because the run before it goes on is overdue, too."""
    due = list(entry.waiting_s[:1])
    if entry.run is not None and entry.run.phase is not Phase.STARTED:
        due.append(entry.run.fire_s)
    return max(0.0, now_s - min(due)) if due else 0.0


def gpus(cluster: Cluster | None) -> tuple[GpuNode, ...]:
    """Of the nodes that have some."""
    nodes = cluster.nodes if cluster is not None else ()
    found = [(node.name, node.total.get("GPU", 0.0), node.free.get("GPU", 0.0)) for node in nodes]
    return tuple(GpuNode(name, total, total - free) for name, total, free in found if total > 0)
