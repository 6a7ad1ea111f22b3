"""Homes with ports of their own, for tests of the command line on a real cluster."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from deploy.supervision.cluster_file import Cluster, read_cluster
from deploy.supervision.processes import find_owned
from divisions.settings import runtime_dir
from tests.e2e.command_line import ROOT, clean_environment, run_divisions, start_divisions

PIPELINE = """
pipeline: "customer-churn-v3"
stages:
  data_prep:
    input: "s3://raw-events/partition=${today}"
  training:
    hyperparams:
      "epochs": 8
  validation:
    metric_threshold: "auc > 0.6"
  deployment:
    strategy: "canary: 20% → 50% → 100%"
    endpoint: "/api/v2/predict/churn"
"""
"""A pipeline that trains in seconds."""


def choose_lasting(count: int) -> list[int]:
    """Free ports outside the range of outgoing connections, so that a cluster gets them again after a crash."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.SystemRandom().randrange(10_000, 30_000)
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


class Home:
    """A home with ports of its own, and a command line for it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        port, dashboard, gcs = choose_lasting(3)
        self.environment = {
            **clean_environment(),
            "DIVISIONS_HOME": str(folder),
            "DIVISIONS_PORT": str(port),
            "DIVISIONS_DASHBOARD_PORT": str(dashboard),
            "DIVISIONS_GCS_PORT": str(gcs),
        }
        self.url = f"http://127.0.0.1:{port}"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_divisions(self.environment | environment, *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return start_divisions(self.environment, *arguments)

    def serve(self, pipeline: Path) -> tuple[subprocess.Popen[str], list[str]]:
        """`up --foreground --bootstrap` once it serves, and the lines that it has said until then."""
        foreground = self.start("up", "--foreground", "--bootstrap", "--pipeline", str(pipeline))
        lines = []
        assert foreground.stdout is not None
        for line in foreground.stdout:
            lines.append(line)
            if "Ctrl-C stops everything" in line:
                break
        assert foreground.poll() is None, "".join(lines)
        return foreground, lines

    def take_over_old(self) -> None:
        """Fills it with the home of an earlier release, in which a version of the endpoint ``churn`` is served."""
        self.path.mkdir(mode=0o700)
        with tarfile.open(ROOT / "tests" / "fixtures" / "home-0.tar.xz") as archive:
            archive.extractall(self.path, filter="data")

    def cluster(self) -> Cluster | None:
        return read_cluster(self.path)

    def processes(self, session: int = 0) -> list[int]:
        return find_owned(runtime_dir(self.path), session)


def answer(url: str, body: object = None, headers: Iterable[tuple[str, str]] = ()) -> tuple[int, bytes]:
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
