"""One cluster for all tests of this folder: starting it and training its model takes a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.canaries.live_result import Allowance
from benchmarks.canaries.live_rollouts import LiveCluster
from tests.e2e.folder_cluster import FolderCluster

CLUSTER = FolderCluster(Path(__file__).parent)
BUSY = Allowance(request_s=4.0, grace_s=1.0, weight_zero_s=60.0)
"""A machine that runs other tests as well may stall. What is lost, or stays with the canary, still fails."""


@pytest.fixture(scope="session")
def live_cluster(tmp_path_factory) -> Iterator[LiveCluster]:
    """Serves a version that takes 10 ms per batch. A test waits for the end of its rollout, and leaves such a version
    behind."""
    it = LiveCluster(tmp_path_factory.mktemp("live"), print, BUSY)
    with CLUSTER.running(it.up, it.down):
        yield it


@pytest.hookimpl(trylast=True)  # after the fixtures of modules
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    CLUSTER.torn_down(nextitem)
