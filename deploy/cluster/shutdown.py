"""Stops the embedded cluster that ``<home>/cluster.json`` names, and cleans up after one that crashed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from deploy.supervision import cluster_file
from deploy.supervision.cluster_file import Cluster
from deploy.supervision.launch import move_logs, session_logs
from deploy.supervision.processes import end, find_owned, start_ticks, wait_until
from divisions.clock import Clock
from divisions.environment import inherited_environment, ray_environment
from divisions.errors import ClusterError, NotRunningError
from divisions.progress import Progress, step
from divisions.settings import runtime_dir

DRAIN_DEADLINE_S = 25.0
SUPERVISOR_GRACE_S = 20.0
LEFTOVER_GRACE_S = 2.0


def stop(home: Path, progress: Progress, clock: Clock) -> Cluster:
    """Stops the cluster of ``home`` and returns its description. No process of it is left.

    Raises:
        NotRunningError: no cluster is up.
    """
    try:
        cluster = cluster_file.read_cluster(home)
    except ClusterError as error:
        progress.notice(f"{error.message}; removing it")
        cluster = None
    if cluster is None:
        clean_up(home)
        raise NotRunningError(
            f"no cluster of {home} is up",
            remedy="start one with `divisions up`, or name another home with DIVISIONS_HOME",
        )
    if not cluster.is_alive:
        progress.notice(f"the cluster (pid {cluster.pid}) had ended already; cleaning up after it")
        clean_up(home, _session_of_dead(cluster))
        return cluster
    with uninterrupted():
        cluster_file.write_cluster(home, msgspec.structs.replace(cluster, phase=cluster_file.STOPPING))
        if cluster.phase == cluster_file.UP:
            with step(progress, clock, "Drain") as current:
                current.detail = drain(home, cluster)
        with step(progress, clock, "Stop Ray"):
            kill(home)
    return cluster


def was_stopped(home: Path, cluster: Cluster) -> bool:
    """Whether a user stops, or has stopped, ``cluster`` on purpose."""
    with contextlib.suppress(ClusterError):
        now = cluster_file.read_cluster(home)
        return now is None or now.phase == cluster_file.STOPPING or now.pid != cluster.pid
    return False


def drain(home: Path, cluster: Cluster) -> str:
    """Lets replicas and gateways finish; returns a note when they did not finish in time."""
    module = "ray_leave" if cluster.kind == cluster_file.JOINED else "ray_drain"
    command = [sys.executable, "-m", f"deploy.cluster.{module}", cluster.ray_address, cluster.node_host]
    log_path = home / "logs" / "drain.log"
    try:
        with log_path.open("wb") as log:
            environment = inherited_environment() | ray_environment(
                home, cluster.node_host, has_token=cluster.has_token
            )
            environment.pop("RAY_AUTH_TOKEN", None)
            status = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=DRAIN_DEADLINE_S,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired:
        return f"given up after {DRAIN_DEADLINE_S:g} s"
    return "" if status == 0 else f"failed, see {log_path}"


def kill(home: Path) -> None:
    """Ends all processes of the cluster of ``home``, up or half started, and removes its files. Raises nothing."""
    with uninterrupted():
        session = 0
        with contextlib.suppress(ClusterError):
            cluster = cluster_file.read_cluster(home)
            if cluster is not None and cluster.is_alive:
                os.kill(cluster.pid, signal.SIGTERM)
                wait_until(lambda: not cluster.is_alive, SUPERVISOR_GRACE_S)
                end(lambda: find_owned(Path(cluster.runtime), cluster.pid), LEFTOVER_GRACE_S)
            if cluster is not None:
                session = _session_of_dead(cluster)
        clean_up(home, session)


def _session_of_dead(cluster: Cluster) -> int:
    """The session of a supervisor that has ended. 0 when its pid belongs to another process by now.

    Ray's workers are found by it in the moment in which they have another name already, and no log yet.
    """
    return cluster.pid if start_ticks(cluster.pid) in {None, cluster.start_ticks} else 0


def clean_up(home: Path, session: int = 0) -> None:
    """Ends the processes that a cluster without a supervisor left behind; removes its sockets and its file."""
    runtime = runtime_dir(home)
    end(lambda: find_owned(runtime, session), LEFTOVER_GRACE_S)
    move_logs(session_logs(runtime), home / "logs" / "ray")
    shutil.rmtree(runtime, ignore_errors=True)
    cluster_file.remove_cluster(home)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignores signals while we clean up: a second Ctrl-C must not leave the clean-up half done."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
