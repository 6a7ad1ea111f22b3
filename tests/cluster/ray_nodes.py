"""A Ray cluster of several hosts, started by hand with ``ray start``, as a team has one before it has Divisions."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.supervision.ray_head import NODE_LOSS
from tests import servers
from tests.cluster.network import Host, wait_until
from tests.cluster.services import REDIS_PORT

GCS_PORT, DASHBOARD_PORT = 6379, 8265
TOKEN = "/root/ray_token"
MARKED = {"divisions_gateway": 1}
"""What marks a node for a gateway."""
_RAY = str(Path(sys.executable).with_name("ray"))
_COMMON = ("--block", "--disable-usage-stats", "--log-color=false", "--num-cpus=8", "--object-store-memory=100000000")
RAY_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": TOKEN,
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_worker_niceness": "0",
    **NODE_LOSS,  # what docs/cluster.md recommends
}


def share_token(hosts: list[Host]) -> None:
    """Gives every host the cluster's token, on its own disk."""
    token = secrets.token_hex(32)
    for host in hosts:
        path = host.disk(TOKEN)
        path.write_text(token)
        path.chmod(0o600)


def outlive_head(redis: Host) -> dict[str, str]:
    """The head's variables that keep its tables in Redis, so that a head that was lost comes back with them."""
    return {
        "RAY_REDIS_ADDRESS": f"{redis.address}:{REDIS_PORT}",
        "RAY_external_storage_namespace": "divisions-tests",
    }


def start_head(host: Host, redis: Host | None = None, resources: Mapping[str, float] = MARKED) -> subprocess.Popen:
    """Starts Ray's head there; returns when it takes connections."""
    storage = outlive_head(redis) if redis else {}
    password = (f"--redis-password={servers.PASSWORD}",) if redis else ()
    process = host.spawn(
        *(_RAY, "start", "--head", f"--node-ip-address={host.address}", f"--port={GCS_PORT}"),
        *(f"--dashboard-host={host.address}", f"--dashboard-port={DASHBOARD_PORT}", "--temp-dir=/tmp/ray"),
        *(f"--resources={json.dumps(dict(resources))}", *password, *_COMMON),
        environment=RAY_SETTINGS | storage,
    )
    ready = host.disk("/tmp/ray/ray_current_cluster")
    wait_until(lambda: ready.exists() or process.poll() is not None, f"Ray's head on {host.name}", 180)
    return process


def start_worker(
    host: Host, head: Host, resources: Mapping[str, float] = MARKED, environment: Mapping[str, str] | None = None
) -> subprocess.Popen:
    """Starts a node there that joins the head's cluster; does not wait."""
    return host.spawn(
        *(_RAY, "start", f"--address={head.address}:{GCS_PORT}", f"--node-ip-address={host.address}"),
        *(f"--resources={json.dumps(dict(resources))}", *_COMMON),
        environment=RAY_SETTINGS | dict(environment or {}),
    )


def run_driver(host: Host, head: Host, code: str, *arguments: str, timeout_s: float = 180.0) -> str:
    """Runs Python code on a host as a driver of the cluster; returns what it prints."""
    connected = "import ray; ray.init(address=__import__('sys').argv[1], log_to_driver=False)\n" + code
    address = f"{head.address}:{GCS_PORT}"
    command = (sys.executable, "-c", connected, address, *arguments)
    return host.run(*command, environment=RAY_SETTINGS, timeout_s=timeout_s).stdout
