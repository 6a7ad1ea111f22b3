"""Ray's nodes, as `router.control.nodes` and as `router.scaling.placement` see them. Every call here blocks; it is made
in a thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from router.control.nodes import GATEWAY_RESOURCE, SeenNode
from router.scaling.placement import Cluster, Node

GCS_TIMEOUT_S = 5.0


def list_nodes() -> tuple[SeenNode, ...]:
    """All nodes that Ray knows, also those that have left."""
    return tuple(
        SeenNode(
            node_id=node["NodeID"],
            address=node["NodeManagerAddress"],
            hostname=node.get("NodeManagerHostname", ""),
            is_alive=bool(node["Alive"]),
            gateways=_num_gateways(node),
        )
        for node in ray.nodes()
    )


def _num_gateways(node: Mapping[str, Any]) -> int:
    label = str((node.get("Labels") or {}).get(GATEWAY_RESOURCE, ""))
    marked = node.get("Resources", {}).get(GATEWAY_RESOURCE, 0.0)
    return int(marked) or (int(label) if label.isdigit() else 0)


def see_cluster() -> Cluster:
    """Every living node with what is free on it now, and what waits for a node."""
    client = ray._private.worker.global_worker.gcs_client
    usage = client.get_all_resource_usage(timeout=GCS_TIMEOUT_S).resource_usage_data
    free = {each.node_id.hex(): dict(each.resources_available) for each in usage.batch}
    draining = client.get_draining_nodes(timeout=GCS_TIMEOUT_S)
    nodes = tuple(
        Node(
            name=node.get("NodeManagerHostname") or node["NodeManagerAddress"],
            total=node["Resources"],
            free=free.get(node["NodeID"], {}),
            labels=node.get("Labels") or {},
            is_draining=node["NodeID"] in draining,
            node_id=node["NodeID"],
        )
        for node in sorted(ray.nodes(), key=lambda each: str(each["NodeID"]))
        if node["Alive"]
    )
    waiting = [
        (dict(demand.shape), demand.num_ready_requests_queued + demand.num_infeasible_requests_queued)
        for demand in usage.resource_load_by_shape.resource_demands
    ]
    return Cluster(nodes, tuple((shape, count) for shape, count in waiting if count))
