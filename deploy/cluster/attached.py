"""``divisions up --address`` and ``down`` of it: controller and gateways on a Ray cluster that is already there.

The command runs on a node of the cluster. ``<home>/cluster.json`` remembers where it deployed, so that other commands
of this home find it. What needs Ray is in `deploy.cluster.ray_attach` and `deploy.cluster.ray_detach`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from deploy.cluster.ray_cluster import starting_alone
from deploy.cluster.steps import follow
from deploy.supervision import cluster_file
from deploy.supervision.cluster_file import ATTACHED, JOINED, STARTING, UP, Cluster
from deploy.supervision.local_raylets import LocalRaylet, find_local_raylets, is_same_address
from deploy.supervision.processes import start_ticks
from deploy.supervision.secret_files import create_private_folder, create_tokens, make_private
from divisions.clock import Clock
from divisions.deployment import NODE_SECRETS, write_private
from divisions.environment import ray_token_of, take_secrets
from divisions.errors import AlreadyRunningError, ClusterError, NotRunningError, UsageError
from divisions.progress import Progress
from divisions.settings import Settings, environment_for_child, is_given

RAY_PORT = 6379
AUTO = "auto"
CONNECT_S = 5.0


def up(settings: Settings, address: str, progress: Progress, clock: Clock) -> Cluster:
    """Deploys onto the cluster, or adds what is missing there. Returns when every marked node has its gateways.

    Args:
        settings: of the deployment. Without ``DIVISIONS_HOST``, gateways listen on loopback and their node's address.
        address: ``HOST:PORT`` of Ray's head; ``auto`` means that of the node on this machine.

    Raises:
        UsageError: the address is none.
        NotRunningError: the cluster does not answer, or no node of it is on this machine.
        DivisionsError: a step failed. What was deployed stays, and the next `up` goes on from there.
    """
    raylet = node_here(address)
    if not is_given("host"):
        settings = replace(settings, host="")
    create_private_folder(settings.home)
    with starting_alone(settings.home):
        _require_same(settings, raylet)
        has_token = keep_tokens(settings.home, raylet.gcs_address)
        create_tokens(settings.home, NODE_SECRETS)
        make_private(settings.home)
        cluster = _starting(settings, raylet, clock, has_token=has_token)
        cluster_file.write_cluster(settings.home, cluster)
        values = _run("ray_attach", settings, cluster, progress, clock)
        cluster = msgspec.structs.replace(
            cluster,
            phase=UP,
            gateway_url=values["gateway_url"],
            dashboard_url=values["dashboard_url"],
            gateways=int(values["gateways"]),
        )
        cluster_file.write_cluster(settings.home, cluster)
    return cluster


def down(settings: Settings, cluster: Cluster, progress: Progress, clock: Clock) -> Mapping[str, str]:
    """Removes what is ours from the cluster; returns what `deploy.cluster.ray_detach` tells.

    Raises:
        NotRunningError: the cluster does not answer.
    """
    with starting_alone(settings.home):
        try:
            require_listener(cluster.ray_address)
        except NotRunningError as error:
            cluster_file.remove_cluster(settings.home)
            raise NotRunningError(
                f"{error.message}; it is forgotten",
                remedy=f"if it comes back, remove what is left with `divisions down --address {cluster.ray_address}`",
            ) from None
        values = _run("ray_detach", settings, cluster, progress, clock)
        cluster_file.remove_cluster(settings.home)
    return values


def down_at(settings: Settings, address: str, progress: Progress, clock: Clock) -> Mapping[str, str]:
    """The same for a cluster that this home does not remember."""
    raylet = node_here(address)
    create_private_folder(settings.home)
    with starting_alone(settings.home):
        _require_same(settings, raylet)
        has_token = keep_tokens(settings.home, raylet.gcs_address)
        cluster = _starting(settings, raylet, clock, has_token=has_token)
        cluster_file.write_cluster(settings.home, cluster)
    return down(settings, cluster, progress, clock)


def keep_tokens(home: Path, head: str, ray_token: str = "") -> bool:
    """Writes the tokens of the environment into the home, once Ray's head has taken its own; whether it has one.

    Args:
        home: exists.
        head: ``HOST:PORT``.
        ray_token: in place of that of the environment.

    Raises:
        DivisionsError: no head answers, or it refuses the token. The home keeps what it had.
    """
    from deploy.supervision.head_check import require_head  # gRPC

    given = take_secrets() | ({"ray_token": ray_token} if ray_token else {})
    given["ray_token"] = ray_token_of(home, given.get("ray_token", ""))
    require_head(head, given["ray_token"])
    for name, text in given.items():
        if text:
            write_private(home / name, text.encode())
    return bool(given["ray_token"])


def node_here(address: str) -> LocalRaylet:
    """The node of the cluster that runs on this machine.

    Raises:
        UsageError: the address is none.
        NotRunningError: nothing answers there, or no node of it is here.
    """
    raylets = find_local_raylets()
    if address == AUTO:
        clusters = {raylet.gcs_address for raylet in raylets}
        if len(clusters) != 1:
            here = f"nodes of {', '.join(sorted(clusters))}" if clusters else "no Ray node"
            raise NotRunningError(
                f"there is {here} on this machine", remedy="name one: divisions up --address HOST:PORT"
            )
        return raylets[0]
    host_port = canonical(address)
    require_listener(host_port)
    found = [raylet for raylet in raylets if is_same_address(raylet.gcs_address, host_port)]
    if not found:
        others = ", ".join(sorted({raylet.gcs_address for raylet in raylets}))
        raise NotRunningError(
            f"no node of the Ray cluster at {host_port} runs on this machine"
            + (f" (there is one of {others})" if others else ""),
            remedy="run this on a node of it, or make this machine one with"
            f" `divisions join {host_port}`. On a client, set DIVISIONS_GATEWAY",
        )
    return found[0]


def canonical(address: str) -> str:
    """``HOST:PORT`` of what people write.

    >>> canonical("head.example"), canonical("10.0.0.1:6479")
    ('head.example:6379', '10.0.0.1:6479')

    Raises:
        UsageError: it is no address.
    """
    if "://" in address:
        raise UsageError(
            f"{address[:80]!r} is not the address of Ray's head", remedy="write HOST:PORT, of `ray start --head --port`"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        host, port = address, str(RAY_PORT)
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise UsageError(f"{address[:80]!r} is not HOST:PORT", remedy="write it like 10.0.0.1:6379")
    return f"{host}:{port}"


def require_listener(address: str) -> None:
    """Checks that something answers. Ray itself would try for a long time.

    Raises:
        NotRunningError: nothing does.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        raise NotRunningError(
            f"nothing answers at {address}, the address of the Ray cluster: {getattr(error, 'strerror', '') or error}",
            remedy="check that its head runs there, and that no firewall is between",
        ) from None


def _require_same(settings: Settings, raylet: LocalRaylet) -> None:
    """Raises: AlreadyRunningError: this home has another cluster."""
    try:
        cluster = cluster_file.read_cluster(settings.home)
    except ClusterError:  # a damaged file is replaced
        return
    if cluster is None or not cluster.is_alive:
        return
    if cluster.kind == JOINED and is_same_address(cluster.ray_address, raylet.gcs_address):
        raise AlreadyRunningError(
            f"{settings.home} keeps this machine's node of the Ray cluster at {cluster.ray_address}",
            remedy="deploy from another folder: set DIVISIONS_HOME to it, and RAY_AUTH_TOKEN_PATH to"
            f" {settings.home / 'ray_token'}",
        )
    if cluster.kind != ATTACHED:
        cluster_file.require_down(settings.home)
    if not is_same_address(cluster.ray_address, raylet.gcs_address):
        raise AlreadyRunningError(
            f"{settings.home} is deployed on the Ray cluster at {cluster.ray_address}",
            remedy="remove it there with `divisions down`, or choose another DIVISIONS_HOME",
        )


def _starting(settings: Settings, raylet: LocalRaylet, clock: Clock, *, has_token: bool) -> Cluster:
    return Cluster(
        pid=os.getpid(),
        start_ticks=start_ticks(os.getpid()) or 0,
        phase=STARTING,
        ray_address=raylet.gcs_address,
        dashboard_url="",
        gateway_url="",
        gateways=0,
        runtime="",
        started_at_s=clock.wall_s(),
        allow_faults=settings.allow_faults,
        kind=ATTACHED,
        node_host=raylet.address,
        has_token=has_token,
    )


def _run(module: str, settings: Settings, cluster: Cluster, progress: Progress, clock: Clock) -> Mapping[str, str]:
    return follow(
        ["-m", f"deploy.cluster.{module}", cluster.ray_address, cluster.node_host],
        environment_for_child(settings),
        settings.home / "logs" / f"{module}.log",
        progress,
        clock,
    )
