"""Tables of the house, each with a bound: versions, runs, replicas, rollouts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from divisions.house import RolloutLine
from divisions.house_rows import (
    GateRow,
    Pod,
    Pods,
    RegistryTable,
    RunRow,
    Runs,
    RunVersion,
    ScaleRow,
    VersionRow,
)
from divisions.inventory import RunCount
from divisions.scaling import VersionScale
from divisions.status import ReplicaStatus, RolloutStatus
from divisions.versions import PRODUCTION, REGISTERED_FROM, STAGING, RegisteredVersion, RunRecord, ValidationStatus

MOST_VERSIONS: Final = 200
MOST_METRICS: Final = 16
MOST_RUNS: Final = 20
MOST_CURVES: Final = 8
CURVE_POINTS: Final = 100
MOST_PODS: Final = 500
MOST_CHARACTERS: Final = 500
GPU_METRICS: Final = ("gpu_util", "gpu_utilization", "gpu_utilization_percent")

Curves = Mapping[str, Sequence[tuple[float, float]]]

_STAGE_ORDER: Final = ("Production", "Staging", "Pending", "Passed", "Failed", "Archived")
_OPERATORS: Final = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def stage_of(version: RegisteredVersion) -> str:
    """The first that holds: what serves, then what is archived, then the rest."""
    if PRODUCTION in version.aliases:
        return "Production"
    if version.is_archived:
        return "Archived"
    return "Staging" if STAGING in version.aliases else version.validation_status.value.capitalize()


def registry_table(versions: Sequence[RegisteredVersion] | None) -> RegistryTable:
    """What serves and what comes next first, then the newest."""
    if versions is None:
        return RegistryTable()
    ordered = sorted(versions, key=lambda each: (_STAGE_ORDER.index(stage_of(each)), -each.created_at_s, each.model))
    rows = tuple(_version_row(each) for each in ordered[:MOST_VERSIONS])
    pending = sum(each.validation_status is ValidationStatus.PENDING for each in versions)
    models = len({each.model for each in versions})
    return RegistryTable(rows, models, len(versions), pending, len(versions) - len(rows))


def _version_row(version: RegisteredVersion) -> VersionRow:
    return VersionRow(
        version.model,
        version.version,
        version.registry_version,
        stage_of(version),
        version.validation_status.value,
        version.message[:MOST_CHARACTERS],
        version.size_bytes or None,
        version.framework,
        _metrics(version.metrics),
        version.created_at_s,
        version.run_id,
        version.bundle_sha256,
    )


_FIRST_METRICS: Final = ("auc", "precision", "recall", "f1", "log_loss", "drift_score", "latency_ms")


def _metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """At most `MOST_METRICS`, those that people ask for first."""
    names = [name for name in _FIRST_METRICS if name in metrics]
    names += sorted(name for name in metrics if name not in _FIRST_METRICS)
    finite = [name for name in names if math.isfinite(metrics[name])]
    return {name: metrics[name] for name in finite[:MOST_METRICS]}


def runs_table(
    runs: Sequence[RunRecord] | None,
    curves: Mapping[str, Curves],
    versions: Sequence[RegisteredVersion] | None,
    counts: Sequence[RunCount] | None,
) -> Runs:
    """The newest runs.

    Args:
        runs: newest first; None if they are not known.
        curves: steps and values by run and metric; of a run that is not there, nothing is told.
        versions: the registry's.
        counts: of all runs there are.
    """
    if runs is None:
        return Runs()
    by_run: dict[str, tuple[RunVersion, ...]] = {}
    for version in versions or ():
        found = RunVersion(version.model, version.version, stage_of(version))
        by_run[version.run_id] = (*by_run.get(version.run_id, ()), found)
    rows = tuple(_run_row(each, curves.get(each.run_id), by_run.get(each.run_id, ())) for each in runs[:MOST_RUNS])
    total = sum(each.count for each in counts) if counts is not None else len(runs)
    return Runs(rows, tuple(counts) if counts is not None else None, max(0, total - len(rows)))


def _run_row(run: RunRecord, curves: Curves | None, versions: tuple[RunVersion, ...]) -> RunRow:
    params, epochs = run.params, run.params.get("epochs", "")
    gpu = [run.metrics[name] for name in GPU_METRICS if name in run.metrics]
    return RunRow(
        run.run_id,
        run.name[:MOST_CHARACTERS],
        run.pipeline,
        run.status,
        run.started_at_s,
        run.ended_at_s,
        params.get("optimizer", "")[:MOST_CHARACTERS],
        params.get("schedule", "")[:MOST_CHARACTERS],
        int(epochs) if epochs.isdecimal() else None,
        (run.tags.get("input_uri") or run.tags.get("divisions.input_uri", ""))[:MOST_CHARACTERS],
        gpu[0] if gpu else None,
        run.tags.get("error", "")[:MOST_CHARACTERS],
        _metrics(run.metrics),
        gates_of(run),
        versions,
        {name: thinned(values, CURVE_POINTS) for name, values in curves.items()} if curves is not None else None,
        run.tags.get(REGISTERED_FROM, "")[:MOST_CHARACTERS],
    )


def gates_of(run: RunRecord) -> tuple[GateRow, ...]:
    """The gates of a run's pipeline, with what was measured.

    A gate reads ``auc > 0.85``; what reads otherwise, as another release's may, is left out.
    """
    rows = []
    for gate in run.params.get("gates", "").split("; "):
        metric, _, rest = gate.partition(" ")
        operator, _, text = rest.partition(" ")
        try:
            threshold = float(text)
        except ValueError:
            continue
        if operator in _OPERATORS:
            value = run.metrics.get(metric)
            is_met = _OPERATORS[operator](value, threshold) if value is not None else None
            rows.append(GateRow(metric, operator, threshold, value, is_met))
    return tuple(rows)


def thinned(values: Sequence[tuple[float, float]], most: int) -> tuple[tuple[float, float], ...]:
    """At most ``most`` of the points, evenly spread, the first and the last among them.

    >>> thinned([(0, 0.0), (1, 0.5), (2, 0.6), (3, 0.7)], 2)
    ((0, 0.0), (3, 0.7))
    """
    if len(values) <= most:
        return tuple(values)
    return tuple(values[index * (len(values) - 1) // (most - 1)] for index in range(most))


def pods_table(
    replicas: Sequence[ReplicaStatus], scales: Iterable[VersionScale], hostnames: Mapping[str, str], now_s: float
) -> Pods:
    """Replicas; what does not run comes first where there are too many.

    Args:
        replicas: of the status.
        scales: likewise.
        hostnames: of nodes, by id.
        now_s: the clock of the status.
    """
    kept = sorted(replicas, key=lambda each: each.ready)[:MOST_PODS] if len(replicas) > MOST_PODS else replicas
    rows = tuple(_pod(each, hostnames, now_s) for each in kept)
    return Pods(rows, tuple(_scale_row(each) for each in scales), len(replicas) - len(rows))


def _pod(replica: ReplicaStatus, hostnames: Mapping[str, str], now_s: float) -> Pod:
    # Rounded: the age is measured anew each time, and what does not change need not be sent.
    since_s = float(round(now_s - replica.age_s)) if replica.age_s > 0 else None
    return Pod(
        replica.name,
        "1/1" if replica.ready else "0/1",
        replica.ready,
        replica.status,
        replica.restarts,
        since_s,
        replica.ip,
        hostnames.get(replica.node, replica.node),
        replica.gpu,
        replica.version,
        replica.role,
        replica.weight_bp,
        replica.engine,
        replica.engine_note,
        replica.reason,
    )


def _scale_row(scale: VersionScale) -> ScaleRow:
    limits = scale.scaling
    return ScaleRow(
        scale.endpoint,
        scale.version,
        scale.role,
        scale.ready,
        scale.wanted,
        limits is not None,
        limits.min if limits is not None else None,
        limits.max if limits is not None else None,
        round(scale.utilization, 2) if scale.utilization is not None else None,
        "; ".join(filter(None, (scale.note, scale.lacks))),
    )


def rollout_lines(rollouts: Iterable[RolloutStatus]) -> tuple[RolloutLine, ...]:
    return tuple(
        RolloutLine(
            each.endpoint,
            each.model,
            each.phase,
            each.generation,
            each.step_index,
            each.steps_bp,
            each.set_weight_bp,
            each.actual_weight_bp,
            each.stable_version,
            each.canary_version,
            each.message,
            each.rollback_reason,
            each.started_at_s,
            each.phase_since_s,
        )
        for each in rollouts
    )
