"""One cluster for all tests of this folder: starting it and training its model takes a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.canaries.live_result import Allowance
from benchmarks.canaries.live_rollouts import LiveCluster

HERE = Path(__file__).parent
BUSY = Allowance(request_s=4.0, grace_s=1.0, weight_zero_s=60.0)
"""A machine that runs other tests as well may stall. What is lost, or stays with the canary, still fails."""


@pytest.fixture(scope="session")
def live_cluster(tmp_path_factory, request) -> Iterator[LiveCluster]:
    """Serves a version that takes 10 ms per batch. A test waits for the end of its rollout, and leaves such a version
    behind."""
    it = LiveCluster(tmp_path_factory.mktemp("live"), print, BUSY)
    ended = [it.down]
    request.config.stash[_END] = lambda: ended.pop()() if ended else None
    try:
        it.up()
        yield it
    finally:
        request.config.stash[_END]()


_END = pytest.StashKey()


@pytest.hookimpl(trylast=True)  # after the fixtures of modules
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ends the cluster after the last test of this folder, so that it does not run beside all others."""
    if nextitem is None or not nextitem.path.is_relative_to(HERE):
        item.config.stash.get(_END, lambda: None)()
