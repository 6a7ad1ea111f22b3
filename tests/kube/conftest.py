"""Two Kubernetes clusters for the same tests: a real API server, where there is one, and a stand-in everywhere."""

from __future__ import annotations

import itertools
import os

import pytest

from tests.kube.clusters import Cluster, RealCluster, StandInCluster
from tests.kube.server import KubeServer

_NUMBERS = itertools.count(1)


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.kube), "stand-in"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """An empty namespace of a cluster."""
    namespace = _new_namespace()
    if request.param == "stand-in":
        return StandInCluster(namespace)
    return RealCluster(request.getfixturevalue("kube_server"), namespace)


@pytest.fixture
def real_cluster(kube_server: KubeServer) -> RealCluster:
    """An empty namespace of the real one."""
    return RealCluster(kube_server, _new_namespace())


def _new_namespace() -> str:
    return f"case-{os.getpid()}-{next(_NUMBERS)}"
