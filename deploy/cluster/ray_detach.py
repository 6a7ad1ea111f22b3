"""Removes what is ours from a Ray cluster that others use too: the part of ``divisions down`` that needs Ray.

    python -m deploy.cluster.ray_detach HOST:PORT NODE_ADDRESS

Ours are the controller's actor and the Serve applications that it has noted (`router.control.ray_ownership`). Ray Serve
itself is stopped only if it did not run before us, and nobody uses it now.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import ray
from ray import serve

from deploy.cluster.ray_attach import POLL_S, connect
from deploy.cluster.steps import Beat, Step, report, say
from divisions.environment import join_ray_cluster
from divisions.errors import ClusterError
from divisions.settings import load_settings
from router.control import ray_ownership
from router.control.nodes import GATEWAY_APP
from router.control.ray_handle import find_controller

STOP_S = 90.0


def detach(address: str, node_address: str) -> Mapping[str, str]:
    """Removes it; what is not there is left out.

    Raises:
        DivisionsError: the cluster does not answer, or an application does not stop.
    """
    connect(address, node_address)
    say(Step("Stop the controller"))  # First: it would start again what we stop.
    controller = find_controller()
    if controller is not None:
        ray.kill(controller, no_restart=True)
    say(Step("Stop the gateways"))  # They answer the requests that they have, which needs replicas.
    running = set(serve.status().applications)
    ours = ray_ownership.owned() & running
    _stop({name for name in ours if name.startswith(GATEWAY_APP)})
    say(Step("Stop the replicas"))
    _stop({name for name in ours if not name.startswith(GATEWAY_APP)})
    others = sorted(set(serve.status().applications) - ours)
    if ray_ownership.is_serve_ours() and not others:
        say(Step("Stop Ray Serve"))
        serve.shutdown()
    ray_ownership.forget_all()
    return {"applications": str(len(ours)), "others": ", ".join(others)}


def _stop(names: set[str]) -> None:
    for name in names:
        serve.delete(name, _blocking=False)
    deadline_s = time.monotonic() + STOP_S
    while left := names & set(serve.status().applications):
        if time.monotonic() >= deadline_s:
            raise ClusterError(
                f"these applications have not stopped for {STOP_S:g} s: {', '.join(sorted(left))}",
                remedy="repeat `divisions down`",
            )
        say(Beat())
        time.sleep(POLL_S)


def main(arguments: list[str]) -> int:
    join_ray_cluster(load_settings().home)
    address, node_address = arguments
    return report(lambda: detach(address, node_address))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
