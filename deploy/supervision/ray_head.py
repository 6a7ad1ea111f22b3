"""The command and environment of ``ray start`` for an embedded cluster, as plain values."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from divisions.environment import ray_environment
from divisions.errors import ClusterError
from divisions.settings import LOOPBACK, Settings, environment_of
from router.control.nodes import GATEWAY_RESOURCE

NUM_FREE_PORTS = 7
_LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket, without its end: `sockaddr_un` in linux/un.h."""
_SOCKET_BYTES = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""The longest that Ray appends to its folder; 4194304 is the largest pid."""
_FOREIGN = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK")
"""Variables of the caller that would connect the new cluster to another one."""

NODE_LOSS = {
    # Ray's head gives a node up after this many failed checks. Each takes its timeout and the period if nothing comes
    # back, and only the period if the machine says that the process is gone.
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "6000",
    "RAY_health_check_failure_threshold": "6",
    # A node that was given up while it was cut off ends once it learns that, and is started again. It asks so often.
    "RAY_raylet_liveness_self_check_interval_ms": "5000",
    # A call that waits for a cable must not break, or Ray Serve takes what it calls for dead. By default after 20 s.
    "RAY_grpc_keepalive_timeout_ms": "60000",
    # So long may the head be away before the other machines end what they run; by Ray's default a minute.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
}
"""How a cluster of several machines finds out that one is lost: after 48 s without an answer, 12 s after Ray's
processes there have ended. A cable that is out for 20 s costs no node: TCP tries again at doubled intervals, and so at
the latest another 20 s after the cable is back."""


def node_host(settings: Settings) -> str:
    """The address that Ray listens on: loopback, unless other machines are to join."""
    return settings.node_host or LOOPBACK


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
    """The command line of the head. Every port is on one interface, loopback by default, and belongs to this cluster
    only.

    Ray's CPUs are bookkeeping, not a limit. We declare more CPUs than the machine has cores, so that replicas of a
    stable and a canary version, the gateways and a training run fit on a small machine. Training limits its own
    threads.
    """
    *_, client, _, _ = free_ports
    host = node_host(settings)
    return [
        *_node_command(settings, host, runtime, free_ports, num_cores),
        "--head",
        f"--port={settings.gcs_port}",
        f"--dashboard-host={host}",
        f"--dashboard-port={settings.dashboard_port}",
        f"--ray-client-server-port={client}",
    ]


def member_command(
    settings: Settings, head: str, runtime: Path, free_ports: Sequence[int], num_cores: int
) -> list[str]:
    """The command line of a node that joins the cluster whose head is ``head``."""
    return [*_node_command(settings, node_host(settings), runtime, free_ports, num_cores), f"--address={head}"]


def _node_command(settings: Settings, host: str, runtime: Path, free_ports: Sequence[int], num_cores: int) -> list[str]:
    agent, agent_grpc, runtime_env, metrics, *_ = free_ports
    return [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--block",
        "--disable-usage-stats",
        f"--node-ip-address={host}",
        f"--temp-dir={temp_dir(runtime)}",
        f"--num-cpus={max(8, 2 * num_cores)}",
        f"--resources={json.dumps({GATEWAY_RESOURCE: settings.gateways})}",
        f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={agent_grpc}",
        f"--runtime-env-agent-port={runtime_env}",
        f"--metrics-export-port={metrics}",
        "--min-worker-port=0",  # any free port; the default range is shared with other clusters of this machine
        "--max-worker-port=0",
        "--log-style=record",
        "--log-color=false",
    ]


def head_environment(
    settings: Settings, inherited: Mapping[str, str], free_ports: Sequence[int], *, has_token: bool = True
) -> dict[str, str]:
    """The environment that every process of the cluster inherits, on a node that joins too."""
    kept = {
        name: value for name, value in inherited.items() if name not in _FOREIGN and not name.startswith("DIVISIONS_")
    }
    *_, autoscaler, dashboard = free_ports
    return {
        **(NODE_LOSS if settings.node_host else {}),  # a machine that is alone has no other to lose
        **kept,
        **environment_of(settings),
        **ray_environment(settings.home, settings.node_host, has_token=has_token),
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
