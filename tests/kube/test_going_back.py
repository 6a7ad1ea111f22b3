"""`deploy --rollback` on a real API server: in a canary, after a promotion, killed, and gone on with."""

from __future__ import annotations

import os
import signal

import pytest

from deploy.kubernetes.access import DEPLOYER_RULES
from deploy.kubernetes.scale import replicas_of
from deploy.shipping.release import Ending
from divisions.errors import LatchedSpecError
from tests.e2e.test_deploy_kills import FileCluster, KillingJournal
from tests.kube.nodes import RAY_CLUSTER
from tests.kube.test_kills import CANARY, Place

pytestmark = pytest.mark.kube


class KillingCluster(FileCluster):
    """Ends the process with SIGKILL when the controller has gone back, and before anybody lowers the canary's group."""

    def watch(self, *, patience):
        yield from super().watch(patience=patience)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def place(real_cluster, tmp_path):
    return Place(real_cluster, tmp_path)


@pytest.fixture
def canary(place):
    """3.2 has a share of the traffic, and the canary's group a pod."""
    assert place.ship(is_watched=False) is Ending.STARTED
    assert group(place) == 1
    return place


def group(place) -> int:
    with place.cluster.api() as api:
        return replicas_of(api.get(*RAY_CLUSTER), CANARY)


def versions(place) -> dict[tuple[str, str], str]:
    """The resource versions of what a deployment has applied, without the cluster, whose groups are scaled."""
    with place.cluster.api() as api:
        kinds = [("v1", "ConfigMap"), ("v1", "Service"), ("rbac.authorization.k8s.io/v1", "Role")]
        return {
            (kind, each["metadata"]["name"]): each["metadata"]["resourceVersion"]
            for version, kind in kinds
            for each in api.list(version, kind)
        }


def require_back(place, *, pods: int) -> None:
    (now,) = place.gateway.rollouts()
    assert now.stable_version == "3.1"
    assert place.gateway.backs == 1
    assert group(place) == pods
    assert place.ship(back_to="3.1") is Ending.UNCHANGED


def test_a_canary_under_way_is_broken_off_and_its_pods_are_given_back(canary):
    before = versions(canary)
    assert canary.ship(back_to="3.1") is Ending.PROMOTED
    assert versions(canary) == before
    require_back(canary, pods=0)


def test_a_promoted_version_is_replaced_and_the_pods_serve_on(place):
    assert place.ship() is Ending.PROMOTED
    before = versions(place)
    assert place.ship(back_to="3.1") is Ending.PROMOTED
    assert versions(place) == before
    require_back(place, pods=1)
    assert place.ship() is Ending.PROMOTED, "and the way forward is open again"


def test_drift_is_no_obstacle_and_the_role_of_deployers_is_enough(canary):
    canary.cluster.edit("services", "divisions-gateway", {"spec": {"type": "NodePort"}})
    canary.user = canary.cluster.grant(DEPLOYER_RULES)
    assert canary.ship(back_to="3.1") is Ending.PROMOTED
    with canary.cluster.api() as api:
        assert api.get("v1", "Service", "divisions-gateway")["spec"]["type"] == "NodePort"
    require_back(canary, pods=0)


@pytest.mark.parametrize(("step", "is_done"), [("back", False), ("back", True), ("watch", False)])
def test_a_way_back_that_was_killed_goes_on(canary, step, is_done):
    killing = KillingJournal(canary.home, step, is_done=is_done)
    assert canary.ship_elsewhere(killing, back_to="3.1") == -signal.SIGKILL
    assert canary.ship(back_to="3.1") is Ending.PROMOTED
    require_back(canary, pods=0)


def test_pods_of_a_canary_that_nobody_has_lowered_are_given_back_by_the_next_call(canary):
    canary.gateway.__class__ = KillingCluster
    assert canary.ship_elsewhere(back_to="3.1") == -signal.SIGKILL
    canary.gateway.__class__ = FileCluster
    assert canary.gateway.rollouts()[0].phase == "ROLLED_BACK"
    assert group(canary) == 1
    assert canary.ship(back_to="3.1") is Ending.PROMOTED
    assert f"Lower {CANARY} from 1 to 0 pods" in "\n".join(canary.lines)
    require_back(canary, pods=0)


def test_a_release_that_is_refused_for_its_past_keeps_no_pods(place, monkeypatch):
    def refuse(self):
        raise LatchedSpecError("3.2 was rolled back before", remedy="force it")

    monkeypatch.setattr(FileCluster, "start", refuse)
    with pytest.raises(LatchedSpecError):
        place.ship()
    assert group(place) == 0
