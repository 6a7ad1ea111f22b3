"""``<home>/cluster.json``: which cluster of this home is up, and where. Each write replaces the whole file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from deploy.cluster.processes import is_alive
from divisions.errors import AlreadyRunningError, ClusterError

NAME = "cluster.json"
STARTING, UP, STOPPING = "starting", "up", "stopping"


class Cluster(msgspec.Struct, frozen=True):
    """A cluster.

    ``pid`` and ``start_ticks`` identify its supervisor (`deploy.cluster.supervisor`). ``phase`` is ``starting`` until
    it serves, then ``up``, and ``stopping`` at the end. ``runtime`` is the folder of its sockets and Ray's files.
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

    @property
    def is_alive(self) -> bool:
        return is_alive(self.pid, self.start_ticks)


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
        raise ClusterError(f"{path} cannot be read: {error}", remedy="remove it if no cluster runs") from None


def write_cluster(home: Path, cluster: Cluster) -> None:
    temporary = home / f".{NAME}.{os.getpid()}"
    with temporary.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(cluster)))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(home / NAME)


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
