"""Lets the gateways and replicas of this node finish, before it leaves its cluster: ``divisions down`` after ``join``.

It runs as a process of its own (``python -m deploy.cluster.ray_leave HOST:PORT NODE_ADDRESS``), because calls to a
cluster that is away may never return. `deploy.cluster.shutdown` ends it after a time limit.
"""

from __future__ import annotations

import sys
import time

import ray

from router.control.ray_handle import find_controller, nodes_of

NAMESPACE = "divisions"
POLL_S = 0.2


def leave(address: str, node_address: str) -> None:
    """Returns when nothing of ours runs on this node."""
    ray.init(
        address=address,
        namespace=NAMESPACE,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address=node_address,
    )
    own = ray.get_runtime_context().get_node_id()
    controller = find_controller()
    if controller is None:
        return
    ray.get(controller.leave_node.remote(own))
    while any(node.node_id == own and node.gateways for node in nodes_of(controller)):
        time.sleep(POLL_S)
    ray.shutdown()


if __name__ == "__main__":
    leave(*sys.argv[1:])
