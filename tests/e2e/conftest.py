"""One cluster for all tests that roll out: starting it and training its model takes a minute."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.canaries.live_rollouts import LiveCluster


@pytest.fixture(scope="session")
def live_cluster(tmp_path_factory) -> Iterator[LiveCluster]:
    """Serves a version that takes 10 ms per batch. A test waits for the end of its rollout, and promotes only such
    versions."""
    it = LiveCluster(tmp_path_factory.mktemp("live"), print)
    try:
        it.up()
        yield it
    finally:
        it.down()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those tests run last, one after the other, so that their cluster does not run beside all others."""
    items.sort(key=lambda item: "live_cluster" in getattr(item, "fixturenames", ()))
