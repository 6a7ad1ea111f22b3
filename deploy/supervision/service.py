"""Starts what serves on a Ray cluster that runs: Ray Serve, the controller, the gateways; then ends.

    python -m deploy.supervision.service SUPERVISOR_PID

A process of its own, so that the supervisor needs no Ray, and can end a start that hangs. Its actors are detached and
live on. Its steps appear in ``cluster.json``. When a step fails, the last line of its output names the cause.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from deploy.supervision import cluster_file
from deploy.supervision.gateway_address import answers_ok
from divisions.collector import collect_seldom
from divisions.deployment import deployment_of, write_node
from divisions.environment import join_ray_cluster
from divisions.errors import ClusterError, DivisionsError
from divisions.gateway_address import gateway_url
from divisions.settings import LOOPBACK, Settings, load_settings

NAMESPACE = "divisions"
SERVE_STEP, CONTROLLER_STEP, GATEWAYS_STEP = "Start Ray Serve", "Start the controller", "Start the gateways"
_POLL_S = 0.1


def main(arguments: Sequence[str]) -> int:
    try:
        start_service(load_settings(), int(arguments[0]))
    except DivisionsError as error:
        print(f"error: {' '.join(str(error).split())}", flush=True)
        return 1
    return 0


def start_service(settings: Settings, supervisor: int) -> None:
    """Returns when a gateway answers. The supervisor ends this process when it makes no progress.

    Raises:
        DivisionsError: a step failed.
    """

    def begin(step: str) -> None:
        cluster_file.change_cluster(settings.home, supervisor, step=step)

    begin(SERVE_STEP)
    join_ray_cluster(settings.home)
    import ray
    from ray import serve

    for name in ("ray", "ray.serve", "serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    host = settings.node_host or LOOPBACK
    address = f"{host}:{settings.gcs_port}"
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False, _node_ip_address=host)
    serve.start(proxy_location="Disabled")
    begin(CONTROLLER_STEP)
    from router.control.ray_handle import gateway_failure
    from router.control.ray_start import get_or_create_controller

    deployment = deployment_of(settings, host)
    write_node(settings.home, deployment, {})
    controller = get_or_create_controller(settings, deployment)
    begin(GATEWAYS_STEP)
    url = gateway_url(settings)
    while not answers_ok(url, "/healthz"):
        if why := gateway_failure(controller):
            raise ClusterError(f"the gateways do not start: {why}", remedy="see the logs folder of the home")
        time.sleep(_POLL_S)
    ray.shutdown()


if __name__ == "__main__":
    collect_seldom()
    sys.exit(main(sys.argv[1:]))
