"""``divisions status``: replicas, in the layout of ``kubectl get pods -o wide``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.connection import connect, warn_of_restarts
from divisions.commands.output import Format, Output, age, percent, print_json, print_json_line, redraw, table
from divisions.commands.pods import show_pods
from divisions.commands.schedule import as_json
from divisions.commands.schedule import render as render_schedule
from divisions.commands.targets import TARGETS
from divisions.drift_text import text_of
from divisions.errors import ClusterError

if TYPE_CHECKING:
    from divisions.prediction_log import LogCount
    from divisions.scaling import VersionScale
    from divisions.schedule.state import Schedule
    from divisions.sdk.client import ServiceStatus
    from divisions.status import NodeStatus, RolloutStatus

HEADER = ("NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "GPU")
NODE_HEADER = ("NODE", "HOST", "ADDRESS", "STATE", "GATEWAYS", "GATEWAY", "REPLICAS", "CONTROLLER")
WATCH_S = 2.0
NODE_CHARACTERS = 12
"""Ray's node ids have 56 hexadecimal characters; these are enough to distinguish nodes. JSON shows all."""


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every two seconds.")] = False,
    target: Annotated[
        str, typer.Option(help="A target of kind kubernetes: its pods. The default is the cluster of this home.")
    ] = "",
    targets: Annotated[Path, typer.Option(help="The file of targets.")] = TARGETS,
    output: Output = Format.TEXT,
) -> None:
    """Show replicas and rollouts, or the pods of a target."""
    if target:
        show_pods(targets, target, is_watched=watch, output=output)
        return
    import msgspec

    from divisions.clock import SystemClock

    with connect() as client:
        while True:
            answer = client.status()
            schedule, now_s = _schedule(), SystemClock().wall_s()
            text = "\n\n".join([render_status(answer), *render_schedule(schedule, now_s)])
            if output is Format.JSON:
                whole = msgspec.to_builtins(answer) | {"schedules": as_json(schedule, now_s)}
                (print_json_line if watch else print_json)(whole)
            elif watch:
                redraw(text)
            else:
                print(text)
            if not watch:
                warn_of_restarts()
                return
            time.sleep(WATCH_S)


def _schedule() -> Schedule:
    """The schedule of this home; empty where another home's gateway is asked, or the file cannot be read."""
    from divisions.schedule.state import Schedule
    from divisions.schedule.state_file import read_schedule
    from divisions.settings import load_settings

    settings = load_settings()
    try:
        return Schedule() if settings.gateway else read_schedule(settings.home)
    except ClusterError as error:
        return Schedule(notes=(str(error),))


def render_status(answer: ServiceStatus) -> str:
    """A table of replicas, a line for each rollout, and the nodes if there are several."""
    rows = [
        (
            replica.name,
            "1/1" if replica.ready else "0/1",
            replica.status,
            str(replica.restarts),
            age(replica.age_s),
            replica.ip or "<none>",
            replica.node[:NODE_CHARACTERS] or "<none>",
            replica.gpu or "<none>",
        )
        for replica in answer.replicas
    ]
    none = "No replicas are known yet." if answer.rollouts else "No replicas: nothing is deployed."
    lines = [table(HEADER, rows) if rows else none]
    if answer.rollouts:
        lines.append("")
        rollouts = [
            (
                rollout.endpoint,
                rollout.model,
                rollout.phase,
                rollout.stable_version or "<none>",
                _canary(rollout) or "<none>",
                percent(rollout.actual_weight_bp) if _canary(rollout) else "-",
            )
            for rollout in answer.rollouts
        ]
        lines.append(table(("ENDPOINT", "MODEL", "ROLLOUT", "STABLE", "CANARY", "WEIGHT"), rollouts))
    scales = [
        (one.app_name, f"{one.ready}/{one.wanted}", _limits(one), _share(one.utilization), one.lacks or one.note or "-")
        for one in answer.scales
        if one.scaling or one.note or one.lacks
    ]
    if scales:
        lines += ["", table(("VERSION", "REPLICAS", "LIMITS", "IN USE", "WHY"), scales)]
    if len(answer.nodes) > 1 or any(node.reason for node in answer.nodes):
        lines += ["", table(NODE_HEADER, [_node_row(node) for node in answer.nodes])]
        lines += [f"{node.address or node.node_id}: {node.reason}" for node in answer.nodes if node.reason]
    reasons = [(one.name, one.reason) for one in answer.replicas if one.reason]
    if reasons:
        lines += ["", table(("NOT READY", "REASON"), reasons)]
    engines = sorted({(one.version, one.engine, one.engine_note or "-") for one in answer.replicas if one.engine})
    if engines:
        lines += ["", table(("VERSION", "ENGINE", "BETTER ENGINES PASSED OVER"), engines)]
    drifts = [(one.endpoint, one.version, text_of(alert)) for one in answer.drift for alert in one.alerts]
    if drifts:
        lines += ["", table(("ENDPOINT", "VERSION", "DRIFT"), drifts)]
    if answer.logged:
        counts = [(one.endpoint, one.version, f"{one.kept:,}", _losses(one)) for one in answer.logged]
        lines += ["", table(("ENDPOINT", "VERSION", "ROWS LOGGED", "LOST"), counts)]
    if answer.journal_fault:
        lines += ["", f"Journal: {answer.journal_fault}", "No weight can rise until it can be written again."]
    if answer.policy_fault:
        lines += ["", f"Policy: {answer.policy_fault}", "`divisions policy check` says what to correct."]
    return "\n".join(lines)


def _losses(count: LogCount) -> str:
    total = sum(count.lost.values())
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(count.lost.items()))
    return f"{total:,} ({reasons})" if total else "0"


def _limits(scale: VersionScale) -> str:
    return f"{scale.scaling.min} to {scale.scaling.max}" if scale.scaling else "-"


def _share(utilization: float | None) -> str:
    return "-" if utilization is None else f"{utilization:.0%}"


def _node_row(node: NodeStatus) -> tuple[str, ...]:
    gateways = f"{node.gateways}/{node.wanted_gateways}" if node.wanted_gateways else "-"
    return (
        node.node_id[:NODE_CHARACTERS],
        node.hostname or "<none>",
        node.address,
        node.state,
        gateways,
        node.gateway or "<none>",
        str(node.replicas),
        "yes" if node.has_controller else "-",
    )


def _canary(rollout: RolloutStatus) -> str:
    """The canary version. Empty after promotion, because it is the stable version then."""
    version = rollout.canary_version or ""
    return "" if version == rollout.stable_version else version
