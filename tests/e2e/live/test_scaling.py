"""The number of replicas under load, on the product's own cluster: by hand, and as the load says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.canaries.live_result import AS_STABLE
from benchmarks.canaries.live_rollouts import PIPELINE as PAGE
from benchmarks.canaries.live_rollouts import LiveCluster
from benchmarks.load.load_process import LoadProcess
from divisions.scaling import VersionScale
from divisions.sdk.client import Client

pytestmark = pytest.mark.e2e

SCALED = """
serving:
  num_cpus: 0.1
  max_batch: 1
  replicas: {min: 1, max: 5, target_utilization: 0.6, scale_down_after: 20s}
"""
"""One row per batch of 10 ms: a replica can do a little less than a hundred rows per second."""
LOW_RPS, MORE_RPS = 10.0, 110.0
QUIET_TICKS = 5
PATIENCE_S = 180.0
"""Generous: a quiet machine takes some seconds."""


@pytest.fixture
def client(live_cluster: LiveCluster) -> Iterator[Client]:
    with live_cluster.product.client() as it:
        yield it


def start_load(live: LiveCluster, folder: Path, rate_rps: float, seed: int = 0) -> LoadProcess:
    load = live.load_process(rate_rps, seed, 900.0, folder / f"samples-{seed}.npz", folder / f"load-{seed}.log")
    load.wait_until_running()
    return load


def scale_of(client: Client, version: str) -> VersionScale:
    return next(each for each in client.status().scales if each.version == version)


def wait(condition: Callable[[], bool]) -> float:
    begun_s = time.monotonic()
    while not condition():
        assert time.monotonic() - begun_s < PATIENCE_S
        time.sleep(0.2)
    return time.monotonic() - begun_s


def are_answered(loads: list[LoadProcess]) -> bool:
    """Whether each load had nothing but answers in its last seconds."""
    last = [load.ticks[-QUIET_TICKS:] for load in loads]
    return all(len(ticks) == QUIET_TICKS and all(tick.ok == tick.requests > 0 for tick in ticks) for ticks in last)


def test_scaled_by_hand_up_and_down_no_request_fails(live_cluster, client, tmp_path):
    version = client.rollout("churn").status().stable_version
    before = scale_of(client, version).wanted
    load = start_load(live_cluster, tmp_path, 100.0)
    try:
        for count in (before + 1, 1, before):
            client.rollout("churn").scale(count, version=version, force=True)
            wait(lambda count=count: scale_of(client, version).ready == count)
            time.sleep(3)
        result = load.stop()
    finally:
        load.close()
    assert (result.failed, result.timed_out, result.refused) == (0, 0, 0), result.reasons


def test_twelve_times_the_load_is_answered_and_the_minimum_comes_back(live_cluster, client, tmp_path):
    before = client.rollout("churn").status().stable_version
    version = live_cluster.register()
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(PAGE.read_text().rstrip() + SCALED)
    live_cluster.start(version, (AS_STABLE,), pipeline)
    live_cluster.product.wait_for("churn", version, {"STEP"}, PATIENCE_S, print)
    client.rollout("churn").promote()
    loads = []
    try:
        loads.append(start_load(live_cluster, tmp_path, LOW_RPS, 1))
        wait(lambda: scale_of(client, version).utilization is not None)
        time.sleep(5)
        assert scale_of(client, version).wanted == 1
        loads.append(start_load(live_cluster, tmp_path, MORE_RPS, 2))
        grown_s = wait(lambda: scale_of(client, version).ready >= 3)
        wait(lambda: are_answered(loads))
        told = scale_of(client, version)
        print(f"{told.ready} replicas {grown_s:.1f} s after the load: {told.note}")
        more = loads[1].stop()
        fallen_s = wait(lambda: scale_of(client, version).wanted == 1)
        wait(lambda: scale_of(client, version).ready == 1)
        print(f"back to the minimum {fallen_s:.1f} s after the load fell; {more.refused} of {more.requests} refused")
        time.sleep(2)
        few = loads[0].stop()
        assert few.failed == more.failed == 0, (few.reasons, more.reasons)
    finally:
        for load in loads:
            load.close()
        client.rollout("churn").rollback(before)
        live_cluster.product.wait_for("churn", before, {"PROMOTED"}, PATIENCE_S, print)
