"""`mlflow models serve` of a registered version answers as our gateway does: both are real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.harness.bench_bundle import ENDPOINT, Workload, write_workload
from benchmarks.harness.ports import free_ports
from benchmarks.lab.lab import Arrangement, lab
from divisions.registry import Registry
from tests.builders import registry_of

pytestmark = pytest.mark.e2e
ROWS = 50
START_S = 240.0


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return write_workload(tmp_path_factory.mktemp("workload") / "bundle", seed=3)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, workload: Workload) -> Registry:
    return registry_of(workload, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def served_by_mlflow(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of MLflow's own server of the version."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/bench-model@production"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": registry._uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    # MLflow starts the server in a shell, so it needs this Python's commands.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    log = tmp_path_factory.mktemp("mlflow") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield wait_until_it_answers(process, f"http://127.0.0.1:{port}", log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> str:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            if httpx.get(f"{url}/ping", timeout=30).status_code == 200:
                return url
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"`mlflow models serve` does not answer: {log.read_text()[-2000:]}")


def test_mlflow_serves_our_version_and_answers_as_our_gateway(workload, served_by_mlflow, tmp_path):
    rows = np.random.default_rng(4).normal(size=(ROWS, workload.schema.num_columns)).astype(np.float32)
    reply = httpx.post(f"{served_by_mlflow}/invocations", json={"inputs": {"rows": rows.tolist()}}, timeout=60)
    assert reply.status_code == 200, reply.text
    theirs = np.array(reply.json()["predictions"]["scores"])
    instances = [
        {"customer_id": f"c-{number}", "features": dict(zip(workload.schema.names, map(float, row), strict=True))}
        for number, row in enumerate(rows)
    ]
    with lab(workload, tmp_path, Arrangement(replicas=1, request_timeout_ms=20_000)) as running:
        replies = [httpx.post(running.served.url, json=instance, timeout=60).json() for instance in instances]
    ours = np.array([reply[f"{ENDPOINT}_probability"] for reply in replies])
    assert np.ptp(ours) > 0.2, "a model that answers all alike would prove nothing"
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6)
