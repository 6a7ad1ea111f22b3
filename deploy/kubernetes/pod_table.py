"""The pods of a deployment as ``kubectl get pods -o wide`` shows them, with the GPU's part. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.kubernetes.cluster_manifest import GPU_ANNOTATION
from deploy.kubernetes.pod_template import Manifest


@dataclass(frozen=True, slots=True)
class PodRow:
    """One pod. ``reason`` is why it is not ready, as far as its status says."""

    name: str
    ready: str
    status: str
    restarts: int
    age_s: float
    ip: str
    node: str
    gpu: str


def rows(pods: Sequence[Manifest], now_s: float) -> list[PodRow]:
    """The pods by name."""
    return [_row(pod, now_s) for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))]


def _row(pod: Manifest, now_s: float) -> PodRow:
    status = pod.get("status", {})
    containers = status.get("containerStatuses", [])
    made = dt.datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()
    return PodRow(
        name=pod["metadata"]["name"],
        ready=f"{sum(bool(each.get('ready')) for each in containers)}/{len(pod['spec']['containers'])}",
        status=_status(pod),
        restarts=sum(each.get("restartCount", 0) for each in containers),
        age_s=max(0.0, now_s - made),
        ip=status.get("podIP", ""),
        node=pod["spec"].get("nodeName", ""),
        gpu=pod["metadata"].get("annotations", {}).get(GPU_ANNOTATION, ""),
    )


def _status(pod: Manifest) -> str:
    """As kubectl computes it: the reason of a container that waits or ended, else the phase."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod.get("status", {})
    for each in status.get("initContainerStatuses", []):
        state = each.get("state", {})
        if reason := state.get("waiting", {}).get("reason", ""):
            return f"Init:{reason}" if reason != "PodInitializing" else "Init"
        if state.get("terminated", {}).get("exitCode"):
            return "Init:Error"
    for each in status.get("containerStatuses", []):
        state = each.get("state", {})
        if reason := state.get("waiting", {}).get("reason") or state.get("terminated", {}).get("reason"):
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")
