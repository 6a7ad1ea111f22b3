"""Lets an embedded cluster finish the requests it has: the first half of ``divisions down``.

It runs as a process of its own (``python -m deploy.cluster.ray_drain HOST:PORT``), because calls to a broken cluster
may never return. `deploy.cluster.shutdown` ends it after a time limit.
"""

from __future__ import annotations

import contextlib
import logging
import sys

import ray
from ray import serve

from divisions.settings import LOOPBACK
from router.control.nodes import GATEWAY_APP

NAMESPACE = "divisions"
CONTROLLER = "divisions-controller"


def drain(address: str, node_host: str) -> None:
    """Ends the controller first (otherwise it would count stopped replicas as failures), then the gateways, which
    answer the requests they have, then the rest of Ray Serve."""
    ray.init(
        address=address,
        namespace=NAMESPACE,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address=node_host or LOOPBACK,
    )
    with contextlib.suppress(ValueError):  # no controller runs
        ray.kill(ray.get_actor(CONTROLLER, namespace=NAMESPACE), no_restart=True)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    for name in [name for name in serve.status().applications if name.startswith(GATEWAY_APP)]:
        serve.delete(name)
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    drain(*sys.argv[1:])
