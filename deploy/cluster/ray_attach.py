"""Deploys controller and gateways onto a Ray cluster that is already there: the part that needs Ray.

    python -m deploy.cluster.ray_attach HOST:PORT NODE_ADDRESS

A process of its own; `deploy.cluster.attached` starts it and shows its steps. Every step finds what an earlier `up` has
done, however far that came, and adds what is missing. One `up` works at a time, on whichever node.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import ray
from ray import serve

from deploy.cluster.steps import Beat, Notice, Step, report, say
from divisions.cause import cause_in
from divisions.deployment import Deployment, deployment_of, read_secrets, write_private
from divisions.environment import join_ray_cluster
from divisions.errors import ClusterError, NotRunningError
from divisions.gateway_address import gateway_url
from divisions.settings import LOOPBACK, Settings, load_settings
from divisions.status import NodeStatus
from router.control import ray_ownership
from router.control.nodes import GATEWAY_RESOURCE
from router.control.ray_checks import ensure_authority
from router.control.ray_handle import ANSWER_S, find_controller, nodes_of
from router.control.ray_members import prepare_nodes
from router.control.ray_nodes import list_nodes
from router.control.ray_start import get_or_create_controller

NAMESPACE = "divisions"
LOCK = "divisions-up"
GATEWAYS_S = 180.0
LOCK_S = 300.0
POLL_S = 0.3
_SETTLED = frozenset({"alive", "leaving"})


def connect(address: str, node_address: str) -> str:
    """Connects this process; returns the address of Ray's dashboard, if it has one.

    Raises:
        NotRunningError: the cluster does not answer, or refuses us.
    """
    try:
        context = ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address=node_address,
        )
    except ray.exceptions.AuthenticationError as error:
        raise NotRunningError(
            f"the Ray cluster at {address} refuses us: {_first_line(error)}",
            remedy="give its token with RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH; RAY_AUTH_MODE=disabled if it has none",
        ) from None
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise NotRunningError(
            f"the Ray cluster at {address} cannot be reached: {_first_line(error)}",
            remedy="check the address, its token, and that all nodes have the same Ray and Python",
        ) from None
    for name in ("ray", "ray.serve", "serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return str(context.dashboard_url or "")


def attach(settings: Settings, address: str, node_address: str) -> Mapping[str, str]:
    """See the module.

    Raises:
        DivisionsError: a step failed. What was deployed stays, and the next `up` goes on from there.
    """
    dashboard = connect(address, node_address)
    with _alone():
        controller, deployed = _running()
        deployment = _wanted(settings, node_address, deployed[0] if deployed else None)
        for name, content in (deployed[1] if deployed else {}).items():
            write_private(settings.home / name, content)
        if deployed is not None and settings.channel_ca:
            from divisions.certificates.authority_file import require_same_authority  # loads cryptography

            require_same_authority(settings.home, settings.channel_ca)
        say(Step("Prepare the nodes"))
        _prepare(settings, deployment)
        say(Step("Start Ray Serve"))
        _start_serve()
        if deployed is not None and deployed[0].stamp != deployment.stamp:
            say(Step("Stop the controller, whose code or settings were others"))
            _stop(controller)
        say(Step("Start the controller"))
        controller = _start_controller(settings, deployment)
        say(Step("Start the gateways"))
        nodes = _wait_for_gateways(controller)
    url = _nearest(settings, nodes, node_address)
    marked = sum(node.wanted_gateways > 0 for node in nodes)
    if not marked:
        say(
            Notice(
                f"no node has the resource or label {GATEWAY_RESOURCE}, so no gateway runs: start Ray there with"
                f" --resources='{{\"{GATEWAY_RESOURCE}\": 1}}'"
            )
        )
    return {
        "gateway_url": url,
        "dashboard_url": f"http://{dashboard}" if dashboard else "",
        "nodes": str(len(nodes)),
        "gateways": str(sum(node.gateways for node in nodes)),
    }


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Holds the cluster's lock: an actor with a name, which ends with this process, however that ends."""
    deadline_s = time.monotonic() + LOCK_S
    is_told = False
    while True:
        try:
            lock = ray.remote(num_cpus=0)(_Lock).options(name=LOCK, namespace=NAMESPACE).remote()
            ray.get(lock.hold.remote(), timeout=ANSWER_S * 4)
            break
        except ValueError:  # the name is taken
            if not is_told:
                say(Step("Wait for another `up` of this cluster"))
            is_told = True
            if time.monotonic() >= deadline_s:
                raise ClusterError(
                    f"another `up` of this cluster has not ended for {LOCK_S:g} s", remedy="stop it, then try again"
                ) from None
            say(Beat())
            time.sleep(POLL_S)
    try:
        yield
    finally:
        ray.kill(lock)


class _Lock:
    def hold(self) -> bool:
        return True


def _running() -> tuple[Any, tuple[Deployment, dict[str, bytes]] | None]:
    """The controller, and what an earlier `up` has deployed; None twice if there is none.

    A controller whose `up` was killed while Ray created it dies with that, and keeps its name for a moment.
    """
    deadline_s = time.monotonic() + ANSWER_S
    while (controller := find_controller()) is not None:
        try:
            return controller, _deployed(controller)
        except ray.exceptions.ActorDiedError as error:
            if time.monotonic() >= deadline_s:
                raise ClusterError(
                    f"the controller on this cluster has died: {cause_in([str(error)])}",
                    remedy="remove it with `divisions down` and deploy anew",
                ) from None
        time.sleep(POLL_S)
    return None, None


def _deployed(controller: Any) -> tuple[Deployment, dict[str, bytes]]:
    try:
        data = ray.get(controller.deployment.remote(), timeout=ANSWER_S)
    except ray.exceptions.ActorDiedError:
        raise
    except ray.exceptions.GetTimeoutError:
        raise ClusterError(
            f"the controller on this cluster has not answered for {ANSWER_S:g} s: its node may be away",
            remedy="bring the node back, or remove it with `divisions down` and deploy anew",
        ) from None
    except (ray.exceptions.RayError, AttributeError) as error:
        raise ClusterError(
            f"the controller on this cluster does not answer: {cause_in([str(error)])}",
            remedy="remove it with `divisions down` and deploy anew",
        ) from None
    return msgspec.msgpack.decode(data, type=tuple[Deployment, dict[str, bytes]])


def _wanted(settings: Settings, node_address: str, deployed: Deployment | None) -> Deployment:
    """The deployment of these settings. Where an earlier one has its journal stays."""
    wanted = deployment_of(settings, node_address)
    if deployed is None:
        return wanted
    return msgspec.structs.replace(wanted, home=deployed.home, pin=wanted.pin and (deployed.pin or wanted.pin))


def _prepare(settings: Settings, deployment: Deployment) -> None:
    living = [node for node in list_nodes() if node.is_alive]
    ensure_authority(settings)
    outcomes = prepare_nodes(living, deployment, read_secrets(settings.home))
    still = {node.node_id for node in list_nodes() if node.is_alive}
    refused = [reason for node_id, reason in outcomes.items() if reason and node_id in still]
    if refused:
        raise ClusterError(
            f"{len(refused)} of {len(living)} nodes cannot be used: {'; '.join(refused)}",
            remedy="mend them, or take them out of the cluster, and repeat `divisions up`",
        )


def _start_serve() -> None:
    try:
        ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
    except ValueError:
        ray_ownership.note_serve_started()
    serve.start(proxy_location="Disabled")


def _start_controller(settings: Settings, deployment: Deployment) -> Any:
    try:
        return get_or_create_controller(settings, deployment)
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the controller does not start: {cause_in([str(error)])}",
            remedy="mend that and repeat `divisions up`; its log is on its node, below Ray's session_latest/logs",
        ) from None


def _stop(controller: Any) -> None:
    ray.kill(controller, no_restart=True)
    deadline_s = time.monotonic() + ANSWER_S
    while find_controller() is not None and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def _wait_for_gateways(controller: Any) -> tuple[NodeStatus, ...]:
    """Returns the nodes when every marked one has its gateways.

    Raises:
        ClusterError: some do not start.
    """
    deadline_s = time.monotonic() + GATEWAYS_S
    while True:
        nodes = tuple(node for node in nodes_of(controller) if node.state != "lost")
        missing = [node for node in nodes if node.gateways < node.wanted_gateways]
        if nodes and not missing and all(node.state in _SETTLED for node in nodes):
            return nodes
        reasons = [f"{node.address}: {node.reason}" for node in nodes if node.reason]
        if reasons or time.monotonic() >= deadline_s:
            late = ", ".join(node.address for node in missing)
            raise ClusterError(
                f"the gateways do not start: {'; '.join(reasons) or f'{late} has none after {GATEWAYS_S:g} s'}",
                remedy="mend that and repeat `divisions up`; `divisions down` removes what was deployed",
            )
        say(Beat())
        time.sleep(POLL_S)


def _nearest(settings: Settings, nodes: tuple[NodeStatus, ...], node_address: str) -> str:
    """The gateway that commands of this home use: that of this node, if it has one."""
    with_gateways = [node for node in nodes if node.gateway]
    if any(node.address == node_address for node in with_gateways):
        own = next(node.gateway for node in with_gateways if node.address == node_address)
        hosts = settings.hosts if settings.host else (LOOPBACK,)
        return gateway_url(settings) if {LOOPBACK, "0.0.0.0", "::"} & set(hosts) else own
    return with_gateways[0].gateway if with_gateways else ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def main(arguments: list[str]) -> int:
    settings = load_settings()
    join_ray_cluster(settings.home)
    address, node_address = arguments
    return report(lambda: attach(settings, address, node_address))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
