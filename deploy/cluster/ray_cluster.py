"""Starts an embedded cluster and waits until it serves. Either all of it runs, or nothing.

The supervisor does the work, and `deploy.cluster.shutdown` stops it. ``<home>/cluster.json`` exists as soon as the
first process runs, so that ``divisions down`` works however ``divisions up`` ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from deploy.cluster import shutdown
from deploy.prometheus import server
from deploy.supervision import cluster_file, ports, ray_head
from deploy.supervision.cluster_file import Cluster
from deploy.supervision.launch import HEAD_STEP
from deploy.supervision.processes import start_ticks
from deploy.supervision.secret_files import create_private_folder, create_tokens, make_private
from divisions.certificates.port_pair import usable_pair
from divisions.clock import Clock
from divisions.errors import AlreadyRunningError, ClusterError, SettingsError
from divisions.gateway_address import gateway_url
from divisions.progress import Progress, step
from divisions.schedule.folder import PIPELINES
from divisions.settings import Settings, environment_for_child, runtime_dir

_POLL_S = 0.1


def start(settings: Settings, progress: Progress, clock: Clock, *, ends_with_us: bool) -> Cluster:
    """Starts a cluster and returns when its gateways answer.

    Args:
        settings: of the cluster; all of its processes have the same.
        ends_with_us: whether the cluster ends when this process does, even by ``kill -9``.

    Raises:
        AlreadyRunningError: a cluster of this home is up or starting.
        PortInUseError: another process listens on one of our ports.
        SettingsError: the certificate of the port, or its key, cannot be used.
        ClusterError: it does not start, or the path of its sockets is too long. Nothing is left running, also after
            an interrupt.
    """
    ray_head.require_short(runtime_dir(settings.home))
    create_private_folder(settings.home)
    with starting_alone(settings.home):
        cluster_file.require_down(settings.home)
        shutdown.clean_up(settings.home)
        if settings.tls_cert:
            usable_pair(settings.tls_cert, settings.tls_key, clock.wall_s())
        _require_free_ports(settings)
        create_tokens(settings.home)
        make_private(settings.home)
        if settings.prometheus_port:
            server.prepare(settings, PIPELINES)
        host = ray_head.node_host(settings)
        plan = _plan(settings, clock, f"{host}:{settings.gcs_port}", cluster_file.EMBEDDED)
        dashboard_url = f"http://{host}:{settings.dashboard_port}"
        pipelines = str(Path.cwd() / PIPELINES) if settings.schedule else ""
        plan = msgspec.structs.replace(plan, dashboard_url=dashboard_url, pipelines=pipelines)
        return _supervised(settings, plan, progress, clock, ends_with_us)


def join(
    settings: Settings, head: str, progress: Progress, clock: Clock, *, has_token: bool, ends_with_us: bool
) -> Cluster:
    """Makes this machine a node of the cluster whose head is at ``head``; returns when it has its gateways.

    Args:
        settings: of this machine; ``node_host`` is its address. What the cluster shares comes from its controller.
        head: ``HOST:PORT``.
        has_token: whether it asks for the token that the home keeps.
        ends_with_us: whether the node ends when this process does, even by ``kill -9``.

    Raises:
        DivisionsError: as `start`; or the controller refuses this node.
    """
    ray_head.require_short(runtime_dir(settings.home))
    create_private_folder(settings.home)
    with starting_alone(settings.home):
        cluster_file.require_down(settings.home)
        shutdown.clean_up(settings.home)
        make_private(settings.home)
        plan = msgspec.structs.replace(_plan(settings, clock, head, cluster_file.JOINED), has_token=has_token)
        return _supervised(settings, plan, progress, clock, ends_with_us, head)


def _supervised(
    settings: Settings, plan: Cluster, progress: Progress, clock: Clock, ends_with_us: bool, *arguments: str
) -> Cluster:
    try:
        cluster = _start_supervisor(settings, plan, ends_with_us, arguments)
        return _follow_start(settings.home, cluster, progress, clock)
    except BaseException:
        shutdown.kill(settings.home)
        raise


def _plan(settings: Settings, clock: Clock, ray_address: str, kind: str) -> Cluster:
    """What `cluster.json` says of a cluster that is about to start."""
    return Cluster(
        pid=0,
        start_ticks=0,
        phase=cluster_file.STARTING,
        ray_address=ray_address,
        dashboard_url="",
        gateway_url=gateway_url(settings),
        gateways=settings.gateways,
        runtime=str(runtime_dir(settings.home)),
        started_at_s=clock.wall_s(),
        allow_faults=settings.allow_faults,
        step=HEAD_STEP,
        kind=kind,
        node_host=settings.node_host,
    )


@contextlib.contextmanager
def starting_alone(home: Path) -> Iterator[None]:
    """Raises: AlreadyRunningError: another `up` of this home is at work."""
    with (home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"another `divisions up` of {home} is starting", remedy="wait for it, or stop it"
            ) from None
        yield


def _require_free_ports(settings: Settings) -> None:
    ports.require_distinct(
        {
            "the gateway": settings.port,
            "Ray's dashboard": settings.dashboard_port,
            "Ray's head": settings.gcs_port,
            **({"Prometheus": settings.prometheus_port} if settings.prometheus_port else {}),
            **_metrics_ports(settings),
        }
    )
    if not settings.gateways:
        raise SettingsError("the head needs a gateway, got DIVISIONS_GATEWAYS=0", remedy="set it to 1 or more")
    for host in {*settings.hosts, *([] if settings.host else [ray_head.node_host(settings)])}:
        ports.require_free(host, settings.port, "the gateway", "choose another with --port or DIVISIONS_PORT")
    host = ray_head.node_host(settings)
    ports.require_free(
        host,
        settings.dashboard_port,
        "Ray's dashboard",
        "choose another with --dashboard-port or DIVISIONS_DASHBOARD_PORT",
    )
    ports.require_free(host, settings.gcs_port, "Ray's head", "choose another with --gcs-port or DIVISIONS_GCS_PORT")
    if settings.prometheus_port:
        other = "choose another with DIVISIONS_PROMETHEUS_PORT"
        ports.require_free(server.HOST, settings.prometheus_port, "Prometheus", other)
    for purpose, port in _metrics_ports(settings).items():  # a gateway would only log it
        ports.require_free(settings.hosts[-1], port, purpose, "choose another with DIVISIONS_METRICS_PORT")


def _metrics_ports(settings: Settings) -> dict[str, int]:
    """The ports on which each gateway of this machine answers alone, if the settings name them."""
    first = settings.metrics_port
    return {f"the metrics of gateway {n}": first + n for n in range(settings.gateways)} if first else {}


def _start_supervisor(settings: Settings, plan: Cluster, ends_with_us: bool, arguments: Sequence[str]) -> Cluster:
    log_path = _log_path(settings.home)
    log_path.parent.mkdir(mode=0o700, exist_ok=True)
    parent = os.getpid() if ends_with_us else 0
    with _open_private(log_path) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.supervision.supervisor", str(parent), *arguments],
            env=environment_for_child(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal must reach us only
        )
    cluster = msgspec.structs.replace(plan, pid=process.pid, start_ticks=start_ticks(process.pid) or 0)
    cluster_file.write_cluster(settings.home, cluster)
    return cluster


def _follow_start(home: Path, cluster: Cluster, progress: Progress, clock: Clock) -> Cluster:
    """Shows the steps of the start; returns when the cluster serves. The supervisor decides when to give up.

    Raises:
        ClusterError: it gave up, or ended.
    """
    while cluster.phase != cluster_file.UP:
        with step(progress, clock, cluster.step) as current:
            before, cluster = cluster, _next_state(home, cluster)
            current.detail = cluster.gateway_url if cluster.phase == cluster_file.UP else ""
        if cluster.message != before.message:
            progress.notice(f"{cluster.message}; trying again")
    return cluster


def _next_state(home: Path, cluster: Cluster) -> Cluster:
    while True:
        is_alive = cluster.is_alive  # asked first: a supervisor writes its reason before it ends
        now = cluster_file.read_cluster(home)
        if now is None or now.pid != cluster.pid or now.phase == cluster_file.STOPPING:
            raise ClusterError("the cluster was stopped while it started")
        if now.phase == cluster_file.FAILED or not is_alive:
            reason = now.message or "the supervisor ended"
            raise ClusterError(f"the cluster did not start: {reason}", remedy=f"see {_log_path(home)}")
        if (now.step, now.phase, now.message) != (cluster.step, cluster.phase, cluster.message):
            return now
        time.sleep(_POLL_S)


def _log_path(home: Path) -> Path:
    return home / "logs" / "ray.log"


def _open_private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), "wb")
