"""Ray clusters of several nodes on this machine, each with an address and a home of its own, as `ray start` makes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.command_line import ROOT, clean_environment, run_divisions, start_divisions
from tests.e2e.homes import choose_lasting
from tests.e2e.ray_processes import kill_all

RAY = str(Path(sys.executable).with_name("ray"))


@dataclass
class RayHost:
    """A node, and a command line beside it."""

    address: str
    home: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    def divisions(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return run_divisions(self.environment | changes, *arguments, timeout_s=280.0)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return start_divisions(self.environment, *arguments)


@dataclass
class RayHosts:
    """A cluster with a token. Nodes have addresses of the loopback network, so that each can have the same ports."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="dh")))
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    hosts: list[RayHost] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.count = 0
        self.port, self.gateway_port, self.dashboard = choose_lasting(3)
        self.base = f"127.{os.getpid() % 200 + 10}.{os.getpid() // 200 % 250 + 1}"
        self.head = f"{self.base}.1:{self.port}"

    def add(self, gateways: int = 1, **environment: str) -> RayHost:
        """Starts a node, the head first; returns when Ray says that it runs."""
        self.count += 1
        number = self.count
        address = f"{self.base}.{number}"
        home = self.folder / f"home{number}"
        variables = {
            **clean_environment(),
            "PYTHONPATH": str(ROOT),
            "DIVISIONS_HOME": str(home),
            "DIVISIONS_PORT": str(self.gateway_port),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_raylet_start_wait_time_s": "120",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "TMPDIR": str(self.folder),
        } | environment
        role = ["--head", f"--port={self.port}", f"--dashboard-port={self.dashboard}"]
        if number > 1:
            role = [f"--address={self.head}"]
        temporary = self.folder / f"r{number}"
        with (self.folder / f"node{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [RAY, "start", "--block", f"--node-ip-address={address}", "--num-cpus=4", *role,
                 f"--temp-dir={temporary}", "--min-worker-port=0", "--max-worker-port=0", "--include-log-monitor=false",
                 f"--dashboard-agent-listen-port={free_port()}", f"--metrics-export-port={free_port()}",
                 f"--ray-client-server-port={free_port()}", "--disable-usage-stats",
                 f"--resources={json.dumps({'divisions_gateway': gateways} if gateways else {})}"],
                env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        end_s = time.monotonic() + 120
        while not (temporary / "ray_current_cluster").exists():
            assert process.poll() is None, (self.folder / f"node{number}.log").read_text()
            assert time.monotonic() < end_s
            time.sleep(0.1)
        host = RayHost(address, home, variables, process)
        self.hosts.append(host)
        return host

    def lose(self, host: RayHost) -> RayHost:
        """Ends a node and all that runs there, at once."""
        kill_all(host.process)
        self.hosts.remove(host)
        return host

    def url(self, host: RayHost) -> str:
        return f"http://{host.address}:{self.gateway_port}"

    def end(self) -> None:
        for host in reversed(self.hosts):
            kill_all(host.process)
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
