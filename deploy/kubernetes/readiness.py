"""Whether what was applied has got ready, and if not, why: image pulls, nodes that are lacking, crash loops. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.kubernetes.pod_template import Manifest
from deploy.kubernetes.values import GATEWAY_GROUP

_GROUP = "ray.io/group"
_ENDED_WELL = "SUCCEEDED"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is ready, and what is not.

    Attributes:
        waiting: what is waited for, in words; empty when all is ready.
        reasons: why pods do not get ready, one line each.
        failure: what waiting cannot mend.
        has_gateway: whether a gateway can be asked. Before the first deployment there is none.
    """

    waiting: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    failure: str = ""
    has_gateway: bool = False

    @property
    def is_ready(self) -> bool:
        return not self.waiting


def judge(
    cluster: Manifest | None, job: Manifest | None, pods: Sequence[Manifest], events: Sequence[Manifest]
) -> Readiness:
    """The readiness of a RayCluster, of the job that attaches to it, and of its pods.

    KubeRay's ``RayClusterProvisioned`` is not asked for: it wants every pod ready, and gateways get ready only after
    the job has begun.
    """
    waiting: list[str] = []
    if cluster is None:
        return Readiness(("KubeRay to take the RayCluster",))
    wanted = {"headgroup": 1}
    wanted |= {each["groupName"]: each.get("replicas", 0) for each in cluster["spec"].get("workerGroupSpecs", [])}
    for group, number in wanted.items():
        ready = sum(_is_ready(pod) for pod in pods if _group_of(pod) == group)
        if ready < number:
            waiting.append(f"{group} {ready}/{number}")
    status = (job or {}).get("status") or {}
    state = status.get("jobDeploymentStatus", "")
    failure = ""
    if state in {"Failed", "Complete"} and status.get("jobStatus") != _ENDED_WELL:
        failure = f"the job that attaches has failed: {status.get('message') or status.get('reason') or 'see its log'}"
    elif status.get("jobStatus") != _ENDED_WELL:
        waiting.append("the job that attaches")
    has_gateway = any(_is_ready(pod) for pod in pods if _group_of(pod) == GATEWAY_GROUP)
    return Readiness(tuple(waiting), reasons_of(pods, events), failure, has_gateway)


def reasons_of(pods: Sequence[Manifest], events: Sequence[Manifest]) -> tuple[str, ...]:
    """Why pods are not ready, one line for each different reason, with the pods that have it."""
    by_reason: dict[str, list[str]] = {}
    for pod in pods:
        if not _is_ready(pod) and (reason := _reason(pod, events)):
            by_reason.setdefault(reason, []).append(pod["metadata"]["name"])
    return tuple(f"{', '.join(sorted(names))}: {reason}" for reason, names in by_reason.items())


def _reason(pod: Manifest, events: Sequence[Manifest]) -> str:
    """What the pod's own status says; else the newest warning about it."""
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {_one_line(condition.get('message', ''))}"
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting", {})
        reason = waiting.get("reason", "")
        if reason and reason not in {"ContainerCreating", "PodInitializing"}:
            return _container_reason(container, reason, waiting.get("message", ""))
        ended = container.get("state", {}).get("terminated", {})
        if ended.get("exitCode"):
            return _ended(ended)
    warnings = [
        event
        for event in events
        if event.get("type") == "Warning" and event.get("involvedObject", {}).get("name") == pod["metadata"]["name"]
    ]
    if warnings:
        last = max(warnings, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        return f"{last.get('reason', '')}: {_one_line(last.get('message', ''))}"
    return ""


def _container_reason(container: Mapping[str, Any], reason: str, message: str) -> str:
    last = container.get("lastState", {}).get("terminated")
    if reason == "CrashLoopBackOff" and last:
        return f"{reason} after {container.get('restartCount', 0)} restarts; {_ended(last)}"
    return f"{reason}: {_one_line(message)}" if message else reason


def _ended(ended: Mapping[str, Any]) -> str:
    told = _one_line(ended.get("message", ""))
    return f"ended with {ended.get('exitCode')} ({ended.get('reason', 'Error')}){f': {told}' if told else ''}"


def _is_ready(pod: Manifest) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _group_of(pod: Manifest) -> str:
    return str(pod["metadata"].get("labels", {}).get(_GROUP, ""))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}…"
