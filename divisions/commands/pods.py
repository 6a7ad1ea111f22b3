"""The pods of a target of kind ``kubernetes``: ``divisions status --target`` and ``divisions scale --target``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.commands.output import Format, age, print_json, print_json_line, redraw, table
from divisions.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.kubernetes.pod_table import PodRow
    from deploy.shipping.kubernetes.settings import KubernetesSettings

HEADER = ("NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "GPU")
WATCH_S = 2.0


def show_pods(targets: Path, target: str, *, is_watched: bool, output: Format) -> None:
    """Prints the pods, and why some are not ready."""
    from deploy.kubernetes.pod_table import rows
    from deploy.kubernetes.readiness import reasons_of
    from divisions.clock import SystemClock

    settings = _cluster(targets, target)
    with settings.api() as api:
        while True:
            pods = api.list("v1", "Pod", {"ray.io/cluster": settings.values.name})
            found = rows(pods, SystemClock().wall_s())
            reasons = reasons_of(pods, api.list("v1", "Event"))
            if output is Format.JSON:
                (print_json_line if is_watched else print_json)({"target": target, "pods": found, "reasons": reasons})
            elif is_watched:
                redraw(render_pods(target, found, reasons))
            else:
                print(render_pods(target, found, reasons))
            if not is_watched:
                return
            time.sleep(WATCH_S)


def render_pods(target: str, pods: Sequence[PodRow], reasons: Sequence[str]) -> str:
    if not pods:
        return f"No pods: nothing is deployed to {target}."
    lines = [
        table(
            HEADER,
            [
                (
                    pod.name,
                    pod.ready,
                    pod.status,
                    str(pod.restarts),
                    age(pod.age_s),
                    pod.ip or "<none>",
                    pod.node or "<none>",
                    pod.gpu or "<none>",
                )
                for pod in pods
            ],
        )
    ]
    if reasons:
        lines += ["", "Not ready:", *(f"  {reason}" for reason in reasons)]
    return "\n".join(lines)


def scale_pods(targets: Path, target: str, group: str, replicas: int, output: Format) -> None:
    """Sets the number of pods of a group, and prints what it was."""
    from deploy.kubernetes.scale import scale

    settings = _cluster(targets, target)
    with settings.api() as api:
        done = scale(api, settings.values.name, group, replicas)
    if output is Format.JSON:
        print_json({"target": target, "group": group, "before": done.before, "after": done.after})
    elif done.before == done.after:
        print(f"{group} has {done.after} pods already")
    else:
        print(f"{group} scaled from {done.before} to {done.after} pods")


def _cluster(targets: Path, target: str) -> KubernetesSettings:
    from deploy.shipping.kubernetes.settings import KubernetesSettings
    from deploy.shipping.target_file import load_target

    settings = load_target(targets, target).settings
    if not isinstance(settings, KubernetesSettings):
        raise UsageError(
            f"{target} is no target of kind kubernetes", remedy="leave out --target, or set DIVISIONS_GATEWAY"
        )
    return settings
