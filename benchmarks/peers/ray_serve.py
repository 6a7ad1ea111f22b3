"""Ray Serve as a peer, as shipped and with its own settings for throughput. Imports nothing of Ray."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.bench_bundle import Workload
from benchmarks.harness.peer import Served
from benchmarks.harness.ports import free_ports
from benchmarks.peers.server_process import server_process

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # a cluster of one user on loopback for a minute; it is the baseline's favour
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, slots=True)
class RayServe:
    """One configuration of Ray Serve.

    ``needs_haproxy`` gives HAProxy ports and files of its own; it listens on all interfaces, as Ray has it do.
    """

    name: str
    note: str
    replicas: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    needs_haproxy: bool = False

    def prepare(self, build: Path, say: Callable[[str], None]) -> None:
        """Ray is a dependency of ours: it is there."""

    @contextlib.contextmanager
    def serving(self, workload: Workload, work: Path) -> Iterator[Served]:
        port, metrics_port, stats_port = free_ports(3)
        # Unix sockets may have 107 bytes, of which Ray uses some 60 below its folder: it must be a short one.
        short = Path(tempfile.mkdtemp(prefix="dbr-"))
        environment = dict(_QUIET) | dict(self.settings)
        if self.needs_haproxy:
            environment |= {
                "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(short / "haproxy.cfg"),
                "RAY_SERVE_HAPROXY_SOCKET_PATH": str(short / "admin.sock"),
                "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(short / "metrics.sock"),
                "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(short),
                "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(short / "server-state"),
                "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
                "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
            }
        command = [sys.executable, "-m", "benchmarks.peers.ray_serve_app", "--onnx", str(workload.onnx)]
        command += ["--features", ",".join(workload.schema.names), "--port", str(port)]
        command += ["--temp-dir", str(short), "--replicas", str(self.replicas)]
        try:
            served = Served(f"http://127.0.0.1:{port}/predict", workload.body)
            with server_process(command, environment, served, work / "server.log"):
                yield served
        finally:
            shutil.rmtree(short, ignore_errors=True)


AS_SHIPPED = RayServe(
    "ray-serve", "settings as shipped, one replica, @serve.batch of up to 64 or 1 ms, 512 requests under way"
)
TUNED = RayServe(
    "ray-serve-tuned",
    "the same with RAY_SERVE_THROUGHPUT_OPTIMIZED=1 and HAProxy in place of Ray's own proxy",
    settings={"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"},
    needs_haproxy=True,
)
