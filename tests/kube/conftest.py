"""Two Kubernetes clusters for the same tests: a real API server, where there is one, and a stand-in everywhere."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.kube.clusters import Cluster, RealCluster, StandInCluster, deploy_without_kuberay
from tests.kube.server import KubeAbsentError, KubeServer, install_kuberay, running

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def kube_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeServer]:
    """The real API server, with KubeRay's resources; ``bare_refusal`` is what a deployment met before it had them."""
    try:
        with running(tmp_path_factory.mktemp("kube")) as server:
            server.bare_refusal = deploy_without_kuberay(server)
            install_kuberay(server)
            yield server
    except KubeAbsentError as error:
        pytest.skip(str(error))


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
