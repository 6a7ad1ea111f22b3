"""The six stages of the house, each with its state: raw data to monitoring. Pure.

The first four tell of the newest run that trained, from its log and its metrics; a run on another machine leaves no log
here. The last two tell of what serves now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from divisions.house import LatestRun, LiveMetrics, RolloutLine, Stage, Stages
from divisions.house_rows import (
    RunRow,
    Runs,
)
from router.house.run_steps import RunStep

TITLES: Final = {
    "ingestion": "Raw Data Ingestion",
    "features": "Feature Store",
    "training": "Training Cluster",
    "registry": "Model Registry",
    "deploy": "Canary Deploy",
    "monitoring": "Real-time Monitoring",
}
_OF_RUN: Final = ("ingestion", "features", "training", "registry")
_STEPS: Final = {
    "Train": "training",
    "Calibrate": "training",
    "Export to ONNX": "training",
    "Validate": "training",
    "Report": "registry",
    "Register": "registry",
    "Sign": "registry",
}
"""The stage of each step of a run; ``Prepare the data of …`` is ingestion, and the features are written after it."""
_OVER: Final = {"PROMOTED": "done", "ROLLED_BACK": "failed", "ROLLING_BACK": "failed", "HOLD": "held"}


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a run has come: the stage that it is in, or in which it ended; since when; and what each stage told."""

    stage: str
    since_s: float | None
    details: Mapping[str, str]
    ended_s: Mapping[str, float]


def stages(
    runs: Runs, steps: Sequence[RunStep], rollouts: Sequence[RolloutLine], live: LiveMetrics, unreachable: Sequence[str]
) -> Stages:
    """All six.

    Args:
        runs: the newest first.
        steps: of the newest run that trained, from its log; empty without a log.
        rollouts: the latest of each endpoint.
        live: what the traffic tells.
        unreachable: the sources that do not answer.
    """
    run = next((each for each in runs.runs or () if not each.registered_from), None)
    latest = _latest(run, rollouts) if run is not None else None
    if run is None:
        state = "unknown" if runs.runs is None else "idle"
        of_run = tuple(Stage(each, TITLES[each], state) for each in _OF_RUN)
    else:
        of_run = _stages_of(run, steps, is_known="experiments" not in unreachable)
    return Stages(latest, (*of_run, _deploy(rollouts), _monitoring(rollouts, live)))


def _latest(run: RunRow, rollouts: Sequence[RolloutLine]) -> LatestRun:
    version = run.versions[0] if run.versions else None
    serving = [
        each.endpoint
        for each in rollouts
        if version is not None
        and each.model == version.model
        and version.version in (each.canary_version, each.stable_version)
    ]
    return LatestRun(
        run.pipeline,
        run.run_id,
        run.status,
        run.started_at_s,
        run.ended_at_s,
        version.model if version is not None else "",
        version.version if version is not None else "",
        serving[0] if serving else "",
    )


def _stages_of(run: RunRow, steps: Sequence[RunStep], *, is_known: bool) -> tuple[Stage, ...]:
    reached = _by_log(run, steps) if steps else _by_metrics(run)
    place = _OF_RUN.index(reached.stage)
    found = []
    for number, stage in enumerate(_OF_RUN):
        if number < place or (number == place and run.status == "FINISHED"):
            state, at_s = "done", reached.ended_s.get(stage)
        elif number > place:
            state, at_s = ("waiting" if run.status == "RUNNING" else "idle"), None
        elif run.status == "RUNNING":
            state, at_s = ("running" if is_known else "unknown"), reached.since_s
        else:
            state, at_s = "failed", run.ended_at_s or reached.since_s
        detail = run.error if state == "failed" and run.error else reached.details.get(stage, "")
        found.append(Stage(stage, TITLES[stage], state, detail, at_s))
    return tuple(found)


def _by_log(run: RunRow, steps: Sequence[RunStep]) -> Reached:
    details, ended_s = _details(run), {}
    stage, since_s = "ingestion", run.started_at_s
    for step in steps:
        if step.name.startswith("Prepare the data of "):
            of_step = "ingestion"
        elif step.name in _STEPS:
            of_step = _STEPS[step.name]
        else:
            continue  # of a deployment, which the next stages tell of
        stage, since_s = of_step, step.began_s
        if step.detail and of_step == "ingestion":
            details[of_step] = step.detail
        if step.ended_s is not None and not step.has_failed:
            ended_s[of_step] = step.ended_s
            if of_step == "ingestion":  # what follows at once writes the features; it is no step of the log
                stage, since_s = "features", step.ended_s
        if of_step == "training" and "ingestion" in ended_s:
            ended_s.setdefault("features", step.began_s)
    if run.status == "FINISHED":
        stage = "registry"
        ended_s.setdefault("registry", run.ended_at_s)
    return Reached(stage, since_s, details, ended_s)


def _by_metrics(run: RunRow) -> Reached:
    ended_s = {"registry": run.ended_at_s} if run.status == "FINISHED" else {}
    if run.versions or run.status == "FINISHED":
        stage = "registry"
    elif run.curves or "auc" in run.metrics or "valid_loss" in run.metrics:
        stage = "training"
    else:
        stage = "features" if "customers" in run.metrics else "ingestion"
    return Reached(stage, None, _details(run), ended_s)


def _details(run: RunRow) -> dict[str, str]:
    details = {"ingestion": run.dataset}
    if (customers := run.metrics.get("customers")) is not None:
        details["features"] = f"{customers:,.0f} customers"
    reached = max((values[-1][0] for values in (run.curves or {}).values() if values), default=0)
    trained = [f"{reached:,.0f} of {run.epochs or '?'} epochs" if reached else ""]
    if (auc := run.metrics.get("auc")) is not None:
        trained.append(f"AUC {auc:.3f}")
    details["training"] = ", ".join(filter(None, trained))
    details["registry"] = ", ".join(f"{each.model} {each.version}: {each.stage}" for each in run.versions)
    return {stage: detail for stage, detail in details.items() if detail}


def _deploy(rollouts: Sequence[RolloutLine]) -> Stage:
    """The rollout that goes on; without one, that which changed last."""
    if not rollouts:
        return Stage("deploy", TITLES["deploy"], "idle")
    going_on = [each for each in rollouts if each.phase not in ("PROMOTED", "ROLLED_BACK")]
    line = max(going_on or rollouts, key=lambda each: each.phase_since_s)
    state = _OVER.get(line.phase, "running")
    text = f"{line.endpoint}: {line.canary_version} at {line.actual_weight_bp / 100:g} %"
    if state == "failed":
        text = f"{line.endpoint}: {line.rollback_reason or line.message}"
    elif state == "done":
        text = f"{line.endpoint}: {line.stable_version or line.canary_version} serves"
    return Stage("deploy", TITLES["deploy"], state, text, line.phase_since_s)


def _monitoring(rollouts: Sequence[RolloutLine], live: LiveMetrics) -> Stage:
    if not rollouts:
        return Stage("monitoring", TITLES["monitoring"], "idle")
    if live.requests_per_s is None:
        return Stage("monitoring", TITLES["monitoring"], "unknown", "no gateway has reported yet")
    if live.drift_alerts:
        return Stage("monitoring", TITLES["monitoring"], "alert", f"{live.drift_alerts} drift alerts")
    return Stage("monitoring", TITLES["monitoring"], "watching", "no drift alert")
