"""Rollouts on a real cluster under load while their controller is killed with kill -9: steps, aborts, the breaker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.load_process import LoadProcess
from benchmarks.product_cluster import ProductCluster
from divisions.client import Client
from divisions.control import RolloutStatus
from divisions.errors import DivisionsError
from trainers import demo_data

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PAGE = ROOT / ".divisions" / "pipeline" / "ml_training.yaml"
MODEL = "churn-predictor"
ANALYSIS = """
    analysis:
      min_dwell_s: 5
      min_samples: [60, 100]
      bake_s: 5
      warmup_s: 1
      warmup_requests: 20
      keep_stable_s: 5
"""


class Product:
    """A running cluster that serves a first version, and further versions of the same model to roll out."""

    def __init__(self, folder: Path) -> None:
        data = demo_data.write_demo_data(folder / "data")
        self.holdout = data.holdout
        self.home = folder / "home"
        self.pipeline = folder / "pipeline.yaml"
        self.pipeline.write_text(PAGE.read_text().rstrip() + ANALYSIS)
        self.cluster = ProductCluster(self.home, print, folder / "commands.log", is_quiet=True)
        self.cluster.up("--allow-faults")
        raw = folder / "data" / "raw"
        today = demo_data.FIRST_DAY.isoformat()
        source = f"{raw}/partition=${{today}}"
        self.cluster.divisions("run", str(self.pipeline), "--input", source, "--today", today)
        self.cluster.wait_for("churn", "3.1", {"PROMOTED"}, 60, print)

    def start(self, *options: str) -> str:
        """Registers a copy of the first version and begins to roll it out; returns its label."""
        command = [sys.executable, "-m", "divisions.cli", "models", "register", MODEL, "--from", "3.1"]
        done = subprocess.run(
            [*command, "--output", "json"], env=self.cluster.environment, capture_output=True, text=True, check=True
        )
        version = str(json.loads(done.stdout)["version"])
        arguments = ("--version", version, "--pipeline", str(self.pipeline), *options)
        self.cluster.divisions("rollout", "start", MODEL, *arguments)
        return version

    def status(self, client: Client) -> RolloutStatus:
        return client.rollout("churn").status()

    def kill_controller(self) -> float:
        """Kills it and waits until a new one answers; returns the seconds in between."""
        with self.cluster.client() as client:
            restarts = client.status().restarts
            os.kill(self._controller_pid(), signal.SIGKILL)
            killed_s = time.monotonic()
            wait(lambda: _restarts(client) > restarts)
        return time.monotonic() - killed_s

    def _controller_pid(self) -> int:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if b"ray::ControllerActor" in command and f"DIVISIONS_HOME={self.home}\0".encode() in environment:
                return int(folder.name)
        raise AssertionError("no controller process")


def wait(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, "it did not come about in time"
        time.sleep(0.05)


def _restarts(client: Client) -> int:
    try:
        return client.status().restarts
    except DivisionsError:
        return -1  # It is away, as it should be for a moment.


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Iterator[Product]:
    it = Product(tmp_path_factory.mktemp("kills"))
    try:
        yield it
    finally:
        it.cluster.down()


@pytest.fixture
def load(product, tmp_path) -> Iterator[LoadProcess]:
    url = f"{product.cluster.url}/api/v2/predict/churn"
    it = LoadProcess(url, product.holdout, 120.0, 240.0, tmp_path / "samples.npz", tmp_path / "load.log")
    try:
        it.wait_until_running()
        yield it
    finally:
        it.close()


def assert_nobody_noticed(load: LoadProcess) -> None:
    result = load.stop()
    assert result.requests > 500
    assert (result.failed, result.timed_out, result.refused) == (0, 0, 0), result.reasons


def test_killed_in_every_phase_a_rollout_takes_each_step_once(product, load):
    version = product.start()
    away_s = []
    for phases in ({"WARMING", "STEP"}, {"STEP"}, {"BAKE"}):
        product.cluster.wait_for("churn", version, phases | {"PROMOTED"}, 90, print)
        away_s.append(product.kill_controller())
    status = product.cluster.wait_for("churn", version, {"PROMOTED"}, 120, print)
    print("resumed after", ", ".join(f"{each:.1f} s" for each in away_s))
    assert max(away_s) <= 5.0
    steps = [(entry.phase, entry.weight_bp) for entry in status.history]
    assert steps == [
        ("PENDING", 0),
        ("WARMING", 0),
        ("STEP", 2_000),
        ("STEP", 5_000),
        ("BAKE", 9_700),
        ("PROMOTED", 10_000),
    ]
    assert_nobody_noticed(load)


def test_an_abort_that_was_answered_is_not_undone_by_a_kill(product, load):
    version = product.start()
    product.cluster.wait_for("churn", version, {"STEP"}, 90, print)
    with product.cluster.client() as client:
        assert client.rollout("churn").abort().phase == "ROLLING_BACK"
    product.kill_controller()
    status = product.cluster.wait_for("churn", version, {"ROLLED_BACK"}, 60, print)
    assert status.actual_weight_bp == 0
    assert_nobody_noticed(load)


def test_gateways_stop_a_broken_canary_by_themselves_and_a_killed_controller_hears_of_it(product, load):
    version = product.start("--fault", "error_rate=1.0")
    product.cluster.wait_for("churn", version, {"STEP", "ROLLING_BACK", "DRAINING", "ROLLED_BACK"}, 90, print)
    product.kill_controller()
    status = product.cluster.wait_for("churn", version, {"ROLLED_BACK"}, 60, print)
    assert status.explanation is not None
    assert status.explanation.guard == "breaker"
    assert status.explanation.canary_exceeded >= 5
    # It was judged by some dozens of requests, not by seconds of them.
    assert status.explanation.canary_requests < 200
    assert_nobody_noticed(load)
