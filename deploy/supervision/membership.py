"""Waits until a node that has just joined a cluster is part of it; then ends.

    python -m deploy.supervision.membership HEAD:PORT

The controller writes settings and tokens into this node's home and starts its gateways. A process of its own, as
`deploy.supervision.service` is. When the controller refuses the node, the last line of its output says why.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from divisions.environment import join_ray_cluster
from divisions.errors import ClusterError, DivisionsError
from divisions.settings import load_settings

NAMESPACE = "divisions"
_POLL_S = 0.5


def main(arguments: Sequence[str]) -> int:
    try:
        wait_for_membership(arguments[0])
    except DivisionsError as error:
        print(f"error: {' '.join(str(error).split())}", flush=True)
        return 1
    return 0


def wait_for_membership(head: str) -> None:
    """Returns when this node has its gateways, or when nothing is deployed on the cluster yet.

    Raises:
        ClusterError: the controller refuses the node, or its gateways do not start.
    """
    settings = load_settings()
    join_ray_cluster(settings.home)
    import ray

    for name in ("ray", "ray.serve", "serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.init(
        address=head,
        namespace=NAMESPACE,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address=settings.node_host,
    )
    from router.control.ray_handle import find_controller, nodes_of

    own = ray.get_runtime_context().get_node_id()
    while (controller := find_controller()) is not None:
        try:
            row = next((node for node in nodes_of(controller) if node.node_id == own), None)
        except ray.exceptions.RayError:  # it is being restarted
            row = None
        if row is not None and row.reason:
            raise ClusterError(row.reason)
        if row is not None and row.state == "alive" and row.gateways >= row.wanted_gateways:
            break
        time.sleep(_POLL_S)
    ray.shutdown()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
