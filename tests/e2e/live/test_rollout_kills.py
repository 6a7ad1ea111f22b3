"""Rollouts on a real cluster under load while their controller is killed with kill -9: steps, aborts, the breaker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.canaries.live_result import AS_STABLE
from benchmarks.canaries.live_rollouts import LiveCluster
from benchmarks.load.load_process import LoadProcess
from divisions.errors import DivisionsError
from divisions.sdk.client import Client
from tests.builders import SHORT_ANALYSIS
from tests.e2e.controllers import controller_pid, wait

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[3]
PAGE = ROOT / ".divisions" / "pipeline" / "ml_training.yaml"


class Product:
    """A cluster that serves a version: registers further versions for rollouts, and kills the controller."""

    def __init__(self, live: LiveCluster, folder: Path) -> None:
        self.live = live
        self.cluster = live.product
        self.pipeline = folder / "pipeline.yaml"

    def start(self, *faults: str, dwell_s: int = 4) -> str:
        """Registers a copy of the first version and begins to roll it out; returns its label."""
        version = self.live.register()
        self.pipeline.write_text(
            PAGE.read_text().rstrip() + SHORT_ANALYSIS.replace("min_dwell_s: 4", f"min_dwell_s: {dwell_s}")
        )
        self.live.start(version, (AS_STABLE, *faults), self.pipeline)
        return version

    def kill_controller(self) -> float:
        """Kills the controller and waits until a new one answers; returns the seconds in between."""
        with self.cluster.client() as client:
            restarts = client.status().restarts
            os.kill(controller_pid(self.cluster.home), signal.SIGKILL)
            killed_s = time.monotonic()
            wait(lambda: _restarts(client) > restarts)
        return time.monotonic() - killed_s


def _restarts(client: Client) -> int:
    try:
        return client.status().restarts
    except DivisionsError:
        return -1  # The controller is away for a moment, as expected.


@pytest.fixture
def product(live_cluster, tmp_path) -> Product:
    return Product(live_cluster, tmp_path)


@pytest.fixture
def load(product, tmp_path) -> Iterator[LoadProcess]:
    it = product.live.load_process(120.0, 0, 900.0, tmp_path / "samples.npz", tmp_path / "load.log")
    try:
        it.wait_until_running()
        yield it
    finally:
        it.close()


def assert_no_request_failed(load: LoadProcess) -> None:
    result = load.stop()
    assert result.requests > 500
    assert (result.failed, result.timed_out, result.refused) == (0, 0, 0), result.reasons


def test_killed_in_every_phase_a_rollout_takes_each_step_once(product, load):
    version = product.start()
    away_s = []
    for phases in ({"WARMING", "STEP"}, {"STEP"}, {"BAKE"}):
        product.cluster.wait_for("churn", version, phases | {"PROMOTED"}, 240, print)
        away_s.append(product.kill_controller())
    status = product.cluster.wait_for("churn", version, {"PROMOTED"}, 240, print)
    print("resumed after", ", ".join(f"{each:.1f} s" for each in away_s))
    steps = [(entry.phase, entry.weight_bp) for entry in status.history]
    assert steps == [
        ("PENDING", 0),
        ("WARMING", 0),
        ("STEP", 2_000),
        ("STEP", 5_000),
        ("BAKE", 9_700),
        ("PROMOTED", 10_000),
    ]
    assert_no_request_failed(load)


def test_an_abort_that_was_answered_is_not_undone_by_a_kill(product, load):
    version = product.start(dwell_s=300)
    product.cluster.wait_for("churn", version, {"STEP"}, 240, print)
    with product.cluster.client() as client:
        assert client.rollout("churn").abort().phase == "ROLLING_BACK"
    product.kill_controller()
    status = product.cluster.wait_for("churn", version, {"ROLLED_BACK"}, 240, print)
    assert status.actual_weight_bp == 0
    assert_no_request_failed(load)


def test_gateways_stop_a_broken_canary_and_report_it_to_a_restarted_controller(product, load):
    version = product.start("error_rate=1.0")
    product.cluster.wait_for("churn", version, {"STEP", "ROLLING_BACK", "DRAINING", "ROLLED_BACK"}, 240, print)
    product.kill_controller()
    status = product.cluster.wait_for("churn", version, {"ROLLED_BACK"}, 240, print)
    assert status.explanation is not None
    assert status.explanation.guard == "breaker"
    assert status.explanation.canary_exceeded >= 5
    # Some dozens of requests were enough to stop it.
    assert status.explanation.canary_requests < 200
    assert_no_request_failed(load)
