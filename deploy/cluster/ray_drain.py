"""Lets an embedded cluster finish what it is doing: the first half of ``divisions down``.

A process of its own (``python -m deploy.cluster.ray_drain HOST:PORT``), because calls to a cluster that is ill may
never return; whoever starts it gives up on it after a while.
"""

from __future__ import annotations

import contextlib
import logging
import sys

import ray
from ray import serve

NAMESPACE = "divisions"
CONTROLLER = "divisions-controller"


def drain(address: str) -> None:
    """Ends the controller first, or it would take the replicas' going for failures; then the gateways, which answer
    what they have taken, then the rest of Ray Serve."""
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    with contextlib.suppress(ValueError):  # there is none
        ray.kill(ray.get_actor(CONTROLLER, namespace=NAMESPACE), no_restart=True)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.delete("divisions-gateway")
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    drain(sys.argv[1])
