"""The plan of a deployment to a cluster, and what it costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.kubernetes.apply import Found
from deploy.kubernetes.values import Values
from deploy.shipping.release import Plan, Step

MANIFESTS, GROW, READY, LOWER = "manifests", "grow", "ready", "lower"


def make_plan(
    rollout: Plan, found: Found, values: Values, *, canary_pods: int, has_stable: bool, is_ready: bool
) -> Plan:
    """The steps around those of the rollout.

    Args:
        rollout: from what is served now to the release.
        found: what the manifests would change.
        canary_pods: how many the canary group is to have now.
        has_stable: whether a version is served, beside which the release is a canary.
        is_ready: whether all pods are ready.
    """
    steps: list[Step] = []
    if found.changes:
        steps.append(Step(MANIFESTS, f"Update the Kubernetes manifests ({_counted(found)})"))
    grows = rollout.applies and has_stable and canary_pods < values.canary_replicas
    if grows:
        steps.append(Step(GROW, f"Raise {values.canary_group} from {canary_pods} to {values.canary_replicas} pods"))
    if steps or not is_ready:
        steps.append(Step(READY, "Wait until the pods are ready"))
    steps += rollout.steps
    changes = [line for change in found.changes for line in (str(change), *(f"    {each}" for each in change.lines))]
    for change in found.conflicts:
        for who, fields in (change.conflicts or {}).items():
            changes.append(f"! {who} has set {', '.join(fields)} of {change.manifest['kind']}")
    changes += [f"note: {notice}" for notice in found.notices]
    return Plan(
        tuple(steps), (*changes, *rollout.changes), (*costs(values, grows=grows), *rollout.costs) if steps else ()
    )


def costs(values: Values, *, grows: bool) -> Sequence[str]:
    """Pods and GPUs that the values ask for."""
    found = []
    for group in values.groups:
        number = values.canary_replicas if group.name == values.canary_group else group.replicas
        if group.name == values.canary_group and not grows:
            continue
        gpu = f", each {group.gpu}" if group.gpu else ""
        during = " during the rollout" if group.name == values.canary_group else ""
        if number:
            found.append(f"{group.name}: {number} pods of {group.cpus} CPUs and {group.memory}{gpu}{during}")
    return found


def _counted(found: Found) -> str:
    counts: dict[str, int] = {}
    for change in found.changes:
        counts[change.verb] = counts.get(change.verb, 0) + 1
    return ", ".join(f"{number} to {verb}" for verb, number in counts.items())
