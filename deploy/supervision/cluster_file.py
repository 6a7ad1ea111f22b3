"""``<home>/cluster.json``: which cluster of this home is up, and where. Each write replaces the whole file.

    starting ──> up ──> stopping          ``divisions down``, or Ctrl-C
                 │ ^
                 v │
              restarting ──> failed       too many crashes; the supervisor has ended and ``message`` says why

Three processes write it: ``divisions up`` creates it, the supervisor and the service's start record their progress,
``divisions down`` marks the end. A lock makes each change see the one before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from deploy.supervision.processes import is_alive
from divisions.deployment import write_private
from divisions.errors import AlreadyRunningError, ClusterError, reason_of

NAME = "cluster.json"
LOCK = "cluster.lock"
STARTING, UP, RESTARTING, STOPPING, FAILED = "starting", "up", "restarting", "stopping", "failed"
EMBEDDED, ATTACHED, JOINED = "embedded", "attached", "joined"
"""A cluster of our own; one that was there before, which we use; a machine of our own in a cluster of others."""


class Cluster(msgspec.Struct, frozen=True):
    """A cluster.

    ``pid`` and ``start_ticks`` identify its supervisor (`deploy.supervision.supervisor`). ``phase`` is one of those
    above. ``runtime`` is the folder of its sockets and Ray's files. ``step`` is the step of a start in progress.
    ``restarts`` counts restarts after a crash; ``message`` is the reason of the last one, or of a failed start.
    ``kind`` is one of those above. An attached cluster has no supervisor: ``pid`` is of the `up` that makes it.
    ``node_host`` is the address of this machine in the cluster, empty for loopback; ``has_token`` says whether Ray
    asks for one. ``pipelines`` is the folder whose pipelines are run by their trigger; empty if none are.
    """

    pid: int
    start_ticks: int
    phase: str
    ray_address: str
    dashboard_url: str
    gateway_url: str
    gateways: int
    runtime: str
    started_at_s: float
    allow_faults: bool = False
    step: str = ""
    restarts: int = 0
    message: str = ""
    kind: str = EMBEDDED
    node_host: str = ""
    has_token: bool = True
    pipelines: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it is ours to stop. Of an attached one only Ray knows whether it runs."""
        return (self.kind == ATTACHED and self.phase == UP) or is_alive(self.pid, self.start_ticks)


def read_cluster(home: Path) -> Cluster | None:
    """None when there is no file. The cluster may have ended since the file was written: see `Cluster.is_alive`.

    Raises:
        ClusterError: the file is damaged.
    """
    path = home / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cluster)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ClusterError(
            f"{path} cannot be read: {reason_of(error)}", remedy="remove it if no cluster runs"
        ) from None


def write_cluster(home: Path, cluster: Cluster) -> None:
    with _alone(home):
        _write(home, cluster)


def change_cluster(home: Path, pid: int, **changes: Any) -> Cluster | None:
    """Changes fields of the cluster whose supervisor is ``pid``.

    Returns:
        The cluster as it is now. None, and nothing changes, when it is to stop, or is another cluster by now.
    """
    with _alone(home):
        try:
            cluster = read_cluster(home)
        except ClusterError:
            return None
        if cluster is None or cluster.pid != pid or cluster.phase == STOPPING:
            return None
        changed = msgspec.structs.replace(cluster, **changes)
        if changed != cluster:
            _write(home, changed)
        return changed


def remove_cluster(home: Path) -> None:
    (home / NAME).unlink(missing_ok=True)


def require_down(home: Path) -> None:
    """Raises: AlreadyRunningError: a cluster of this home runs."""
    cluster = read_cluster(home)
    if cluster is not None and cluster.is_alive:
        state = "is up" if cluster.phase == UP else f"is {cluster.phase}"
        raise AlreadyRunningError(
            f"a cluster of {home} {state} (pid {cluster.pid}, {cluster.gateway_url})",
            remedy="stop it with `divisions down`, or choose another DIVISIONS_HOME",
        )


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    descriptor = os.open(home / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(home: Path, cluster: Cluster) -> None:
    write_private(home / NAME, msgspec.json.format(msgspec.json.encode(cluster)))
