"""A deployment to a real API server, killed in a step of its own, and gone on with.

`tests/e2e/test_deploy_kills.py` has the steps that all targets share.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace

import pytest

from deploy.kubernetes.apply import carry_out, compare
from deploy.kubernetes.manifests import render
from deploy.kubernetes.scale import replicas_of
from deploy.shipping.console import LineConsole
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.kubernetes.target import KubernetesTarget
from deploy.shipping.release import Ending
from deploy.shipping.run import deploy
from divisions.clock import SystemClock
from tests.deploy.shipping.kubernetes.test_target import PIPELINE, RELEASE
from tests.e2e.test_deploy_kills import FileCluster, KillingJournal
from tests.kube.clusters import RealCluster
from tests.kube.nodes import RAY_CLUSTER, Nodes
from tests.kube.server import ADMIN

pytestmark = pytest.mark.kube

TEXT = "pipeline: a"
CANARY = "churn-predictor-v3-canary"
STEPS = ["authenticate", "manifests", "grow", "ready", "start", "watch"]


class Gateway:
    """The control API of a `FileCluster`, which outlives the process that is killed."""

    def __init__(self, cluster: FileCluster) -> None:
        self._cluster = cluster

    def client(self) -> FileCluster:
        return self._cluster


class KillingConsole(LineConsole):
    """Ends the process with SIGKILL when the first of the objects is written."""

    def said(self, step, line):
        super().said(step, line)
        if step.name == "manifests":
            os.kill(os.getpid(), signal.SIGKILL)


class Place:
    """A cluster that serves 3.1, with manifests that are to be changed in two objects."""

    def __init__(self, cluster: RealCluster, home) -> None:
        self._server, self._namespace = cluster.server, cluster.namespace
        self.home = home
        self.gateway = FileCluster(home / "gateway.json")
        self.values = replace(cluster.values, max_replicas=20, gateways_per_pod=2)
        self.user = ADMIN
        self.lines: list[str] = []
        with cluster.api() as api:
            old = replace(self.values, max_replicas=10, gateways_per_pod=1)
            carry_out(api, old, compare(api, old, render(old, TEXT)), force=False, say=lambda line: None)
            Nodes(cluster, api).run_all()

    @property
    def cluster(self) -> RealCluster:
        return RealCluster(self._server, self._namespace, is_new=False)

    def ship(self, journal=None, console=LineConsole, *, back_to="", is_watched=True) -> Ending:
        """Deploys 3.2, or takes the target back to a version."""
        clock, cluster = SystemClock(), self.cluster
        with cluster.api(self.user) as api, cluster.api() as admin:
            nodes = Nodes(cluster, admin)
            target = KubernetesTarget(
                "staging",
                api,
                self.values,
                render(self.values, TEXT),
                Gateway(self.gateway),
                PIPELINE,
                lambda client: client.start(),
                clock,
                lambda seconds: nodes.run_all(),
                ready_s=240,
                goes_back=bool(back_to),
            )
            journal = journal or DeploymentJournal(self.home, clock)
            release = replace(RELEASE, version=back_to) if back_to else RELEASE
            shown = console(clock, self.lines.append)
            return deploy(target, release, journal, shown, clock, who="me", is_watched=is_watched)

    def ship_elsewhere(self, *how, **options) -> int | None:
        """In another process; returns how it ended."""
        child = multiprocessing.get_context("fork").Process(target=self.ship, args=how, kwargs=options)
        child.start()
        child.join()
        return child.exitcode

    def require_served(self) -> None:
        """The release serves, was started once, on a cluster that is as its values say."""
        assert self.gateway.rollouts()[0].stable_version == "3.2"
        assert self.gateway.starts == 1
        with RealCluster(self._server, self._namespace, is_new=False).api() as api:
            assert compare(api, self.values, render(self.values, TEXT)).changes == ()
            assert replicas_of(api.get(*RAY_CLUSTER), CANARY) == 1


@pytest.fixture
def place(real_cluster, tmp_path):
    return Place(real_cluster, tmp_path)


def test_a_deployment_has_all_steps(place):
    assert place.ship() is Ending.PROMOTED
    (found,) = DeploymentJournal(place.home, SystemClock()).latest(9)
    assert [step.name for step in found.steps] == STEPS
    place.require_served()


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["manifests", "grow", "ready"])
def test_a_deployment_that_was_killed_in_a_step_goes_on(place, step, is_done):
    assert place.ship_elsewhere(KillingJournal(place.home, step, is_done=is_done)) == -signal.SIGKILL
    assert place.ship() is Ending.PROMOTED
    assert "Going on with deployment 1" in place.lines[0]
    place.require_served()


def test_a_deployment_that_was_killed_between_two_objects_goes_on(place):
    assert place.ship_elsewhere(None, KillingConsole) == -signal.SIGKILL
    assert place.ship() is Ending.PROMOTED
    place.require_served()
