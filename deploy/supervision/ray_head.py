"""The command and environment of ``ray start`` for an embedded cluster, as plain values."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from divisions.errors import ClusterError
from divisions.settings import Settings, environment_of, ray_environment

HOST = "127.0.0.1"
NUM_FREE_PORTS = 7
_LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket, without its end: `sockaddr_un` in linux/un.h."""
_SOCKET_BYTES = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""The longest that Ray appends to its folder; 4194304 is the largest pid."""
_FOREIGN = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK")
"""Variables of the caller that would connect the new cluster to another one."""


def temp_dir(runtime: Path) -> Path:
    """Ray's own folder. Its path must be short: Ray appends about 60 bytes for Unix sockets, whose limit is 107."""
    return runtime / "ray"


def require_short(runtime: Path) -> None:
    """Checks that Ray's sockets fit into the runtime folder.

    Raises:
        ClusterError: their paths would be longer than the kernel allows.
    """
    excess = len(os.fsencode(temp_dir(runtime))) + _SOCKET_BYTES - _LONGEST_SOCKET
    if excess > 0:
        raise ClusterError(
            f"the folder for sockets, {runtime}, has a path that is {excess} bytes too long",
            remedy="set TMPDIR to a shorter folder, such as /tmp",
        )


def head_command(settings: Settings, runtime: Path, free_ports: Sequence[int], num_cores: int) -> list[str]:
    """The command line of the head. Every port is on the loopback interface and belongs to this cluster only.

    Ray's CPUs are bookkeeping, not a limit. We declare more CPUs than the machine has cores, so that replicas of a
    stable and a canary version, the gateways and a training run fit on a small machine. Training limits its own
    threads.
    """
    agent, agent_grpc, runtime_env, metrics, client, *_ = free_ports
    return [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
        f"--node-ip-address={HOST}",
        f"--port={settings.gcs_port}",
        f"--dashboard-host={HOST}",
        f"--dashboard-port={settings.dashboard_port}",
        f"--temp-dir={temp_dir(runtime)}",
        f"--num-cpus={max(8, 2 * num_cores)}",
        f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={agent_grpc}",
        f"--runtime-env-agent-port={runtime_env}",
        f"--metrics-export-port={metrics}",
        f"--ray-client-server-port={client}",
        "--min-worker-port=0",  # any free port; the default range is shared with other clusters of this machine
        "--max-worker-port=0",
        "--log-style=record",
        "--log-color=false",
    ]


def head_environment(settings: Settings, inherited: Mapping[str, str], free_ports: Sequence[int]) -> dict[str, str]:
    """The environment that every process of the cluster inherits."""
    kept = {
        name: value for name, value in inherited.items() if name not in _FOREIGN and not name.startswith("DIVISIONS_")
    }
    *_, autoscaler, dashboard = free_ports
    return {
        **kept,
        **environment_of(settings),
        **ray_environment(settings.home),
        "AUTOSCALER_METRIC_PORT": str(autoscaler),
        "DASHBOARD_METRIC_PORT": str(dashboard),
        # `deploy.cluster.ray_drain` has drained already. Ray would wait 30 s for a proxy that we do not run.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        # Ray gives up on its own processes after 30 s, which a busy machine exceeds. The supervisor watches progress.
        "RAY_gcs_server_port_wait_time_s": "300",
        "RAY_agent_register_timeout_ms": "300000",
        "RAY_worker_register_timeout_seconds": "300",
        # Ray's default of 15 lets any other process starve gateways and replicas. Trainers lower their own priority.
        "RAY_worker_niceness": "0",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}",
    }
