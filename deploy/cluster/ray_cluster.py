"""Starts an embedded cluster: Ray's head, Ray Serve, the controller, the gateways. Either all of it runs, or nothing.

`deploy.cluster.shutdown` stops it. ``<home>/cluster.json`` exists as soon as the first process runs, so that
``divisions down`` works however ``divisions up`` ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from deploy.cluster import cluster_file, ports, ray_head, shutdown
from deploy.cluster.cluster_file import Cluster
from deploy.cluster.gateway_address import answers_ok, gateway_url
from deploy.cluster.processes import start_ticks, wait_until
from deploy.cluster.secret_files import create_private_folder, create_tokens
from divisions.clock import Clock
from divisions.errors import AlreadyRunningError, ClusterError
from divisions.progress import Progress, step
from divisions.settings import Settings, inherited_environment, join_embedded_cluster, runtime_dir

HEAD_DEADLINE_S = 90.0
GATEWAY_DEADLINE_S = 60.0
NAMESPACE = "divisions"
LOG_TAIL_LINES = 15


def start(settings: Settings, progress: Progress, clock: Clock, *, ends_with_us: bool) -> Cluster:
    """Starts a cluster and returns when its gateways answer.

    Args:
        settings: of the cluster; all of its processes have the same.
        ends_with_us: whether the cluster ends when this process does, even by ``kill -9``.

    Raises:
        AlreadyRunningError: a cluster of this home is up or starting.
        PortInUseError: another process listens on one of our ports.
        ClusterError: it does not start. Nothing is left running, also after an interrupt.
    """
    create_private_folder(settings.home)
    with _starting_alone(settings.home):
        cluster_file.require_down(settings.home)
        shutdown.clean_up(settings.home)
        _require_free_ports(settings)
        create_tokens(settings.home)
        try:
            with step(progress, clock, "Start Ray") as current:
                cluster = _start_head(settings, clock, ends_with_us)
                current.detail = f"dashboard {cluster.dashboard_url}"
            _start_service(settings, cluster, progress, clock)
            cluster = msgspec.structs.replace(cluster, phase=cluster_file.UP)
            cluster_file.write_cluster(settings.home, cluster)
        except BaseException:
            shutdown.kill(settings.home)
            raise
    return cluster


@contextlib.contextmanager
def _starting_alone(home: Path) -> Iterator[None]:
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
        }
    )
    ports.require_free(settings.host, settings.port, "the gateway", "choose another with --port or DIVISIONS_PORT")
    ports.require_free(
        ray_head.HOST,
        settings.dashboard_port,
        "Ray's dashboard",
        "choose another with --dashboard-port or DIVISIONS_DASHBOARD_PORT",
    )
    ports.require_free(
        ray_head.HOST, settings.gcs_port, "Ray's head", "choose another with --gcs-port or DIVISIONS_GCS_PORT"
    )


def _start_head(settings: Settings, clock: Clock, ends_with_us: bool) -> Cluster:
    runtime = runtime_dir(settings.home)
    create_private_folder(runtime)
    log_path = settings.home / "logs" / "ray.log"
    log_path.parent.mkdir(mode=0o700, exist_ok=True)
    free_ports = ports.choose_free(ray_head.NUM_FREE_PORTS)
    head = ray_head.head_command(settings, runtime, free_ports, os.cpu_count() or 1)
    parent = os.getpid() if ends_with_us else 0
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cluster.supervisor", str(shutdown.HEAD_GRACE_S), str(parent), "--", *head],
            env=ray_head.head_environment(settings, inherited_environment(), free_ports),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal must reach us only, not Ray
        )
    cluster = Cluster(
        pid=process.pid,
        start_ticks=start_ticks(process.pid) or 0,
        phase=cluster_file.STARTING,
        ray_address=f"{ray_head.HOST}:{settings.gcs_port}",
        dashboard_url=f"http://{ray_head.HOST}:{settings.dashboard_port}",
        gateway_url=gateway_url(settings),
        gateways=settings.gateways,
        runtime=str(runtime),
        started_at_s=clock.wall_s(),
        allow_faults=settings.allow_faults,
    )
    cluster_file.write_cluster(settings.home, cluster)
    # Ray writes this file when all processes of its head run.
    is_ready = ray_head.temp_dir(runtime) / "ray_current_cluster"
    wait_until(lambda: is_ready.exists() or not cluster.is_alive, HEAD_DEADLINE_S)
    if not (is_ready.exists() and cluster.is_alive):
        raise ClusterError(f"Ray's head did not start: {_last_error(log_path)}", remedy=f"see {log_path}")
    return cluster


def _last_error(log_path: Path) -> str:
    lines = [line.strip() for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines[-LOG_TAIL_LINES:] if "Error" in line or "error" in line]
    return (errors or lines or ["it said nothing"])[-1][:300]


def _start_service(settings: Settings, cluster: Cluster, progress: Progress, clock: Clock) -> None:
    join_embedded_cluster(settings.home)
    with step(progress, clock, "Start Ray Serve"):
        import ray
        from ray import serve

        for name in ("ray", "ray.serve", "serve"):
            logging.getLogger(name).setLevel(logging.ERROR)
        ray.init(
            address=cluster.ray_address,
            namespace=NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
        )
        serve.start(proxy_location="Disabled")
    try:
        with step(progress, clock, "Start the controller"):
            from router.control.ray_controller import get_or_create_controller

            get_or_create_controller(settings)
        with step(progress, clock, "Start the gateways") as current:
            from router.gateway.ray_gateway import deploy_gateways

            deploy_gateways(settings)
            if not wait_until(
                lambda: answers_ok(cluster.gateway_url, "/healthz") or not cluster.is_alive, GATEWAY_DEADLINE_S
            ):
                raise ClusterError(
                    f"no gateway answers at {cluster.gateway_url}/healthz after {GATEWAY_DEADLINE_S:g} s",
                    remedy=f"see {settings.home / 'logs'}",
                )
            current.detail = f"{settings.gateways} at {cluster.gateway_url}"
    finally:
        # The cluster does not need us: its actors are detached. A connected process would die with the head.
        ray.shutdown()
