"""Sets the number of pods of a worker group. Nothing else of the RayCluster is touched.

To Kubernetes, the groups of the list have places, and no names. So the patch tests that the group is still at its
place, and is refused otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.kubernetes.api import Api
from deploy.kubernetes.changes import SCALER
from deploy.kubernetes.pod_template import Manifest
from divisions.errors import ClusterError, ConflictError, UsageError

TRIES = 3
_KIND = ("ray.io/v1", "RayCluster")


@dataclass(frozen=True, slots=True)
class Scaled:
    before: int
    after: int


def replicas_of(cluster: Manifest, group: str) -> int:
    """How many pods the group is to have.

    Raises:
        UsageError: there is no such group.
    """
    return int(_group(cluster, group)[1].get("replicas", 0))


def scale(api: Api, name: str, group: str, replicas: int) -> Scaled:
    """Sets the number of pods of a group.

    Raises:
        UsageError: there is no such group, or it may not have so many.
        ClusterError: there is no such RayCluster.
    """
    for attempt in range(TRIES):
        cluster = api.get(*_KIND, name)
        if cluster is None:
            raise ClusterError(
                f"there is no RayCluster {name} in the namespace {api.namespace}", remedy="deploy to the target first"
            )
        place, found = _group(cluster, group)
        most = found.get("maxReplicas", replicas)
        if not 0 <= replicas <= most:
            raise UsageError(
                f"{group} may have 0 to {most} pods, not {replicas}",
                remedy="raise the target's max_replicas, and deploy",
            )
        before = int(found.get("replicas", 0))
        if before == replicas:
            return Scaled(before, replicas)
        path = f"/spec/workerGroupSpecs/{place}"
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": f"{path}/groupName", "value": group},
            {"op": "add", "path": f"{path}/replicas", "value": replicas},
        ]
        try:
            api.patch(*_KIND, name, operations, SCALER)
        except ConflictError:
            if attempt == TRIES - 1:
                raise
        else:
            return Scaled(before, replicas)
    raise AssertionError("the last try returns or raises")


def _group(cluster: Manifest, name: str) -> tuple[int, Manifest]:
    groups = cluster["spec"].get("workerGroupSpecs", [])
    for place, group in enumerate(groups):
        if group["groupName"] == name:
            return place, group
    raise UsageError(
        f"the cluster has no group {name}", remedy=f"it has {', '.join(each['groupName'] for each in groups)}"
    )
