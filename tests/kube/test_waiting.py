"""A deployment waits for pods, whose part the tests play through the API: some get ready, and some never do."""

from __future__ import annotations

import pytest

from deploy.kubernetes.scale import replicas_of
from deploy.shipping.release import Ending
from divisions.errors import ClusterError
from tests.builders import rollout_status
from tests.deploy.shipping.kubernetes.test_target import RELEASE, World, promoted
from tests.kube.nodes import RAY_CLUSTER, Nodes

CANARY = "churn-predictor-v3-canary"


@pytest.fixture
def world(cluster):
    """A deployment to the cluster; whenever it pauses, the nodes do their part."""
    found = World(values=cluster.values)
    with cluster.api() as api:
        found.api, found.nodes = api, Nodes(cluster, api)
        found.on_pause = found.nodes.run_all
        yield found


def test_a_deployment_waits_until_everything_is_ready_and_then_rolls_out(world):
    world.gateway.ahead = [promoted()]
    steps, ending = world.deploy()
    assert (steps, ending) == (["manifests", "ready", "start", "watch"], Ending.PROMOTED)
    assert any("gateway 0/2" in line for line in world.said), "it said what it waited for"
    world.gateway.statuses.append(promoted())
    assert world.target().plan(RELEASE, is_watched=True).steps == ()


def test_the_canarys_pods_are_raised_and_after_a_rollback_given_back(world):
    world.gateway.ahead = [promoted("3.1")]
    world.deploy()
    world.gateway.statuses = [promoted("3.1")]
    world.gateway.ahead = [rollout_status(phase="ROLLED_BACK", stable_version="3.1", canary_version="3.2")]
    steps, ending = world.deploy()
    assert (steps[0], ending) == ("grow", Ending.ROLLED_BACK)
    assert f"{CANARY}-0" in {pod["metadata"]["name"] for pod in world.api.list("v1", "Pod")}
    assert replicas_of(world.api.get(*RAY_CLUSTER), CANARY) == 0


def waiting(reason, message="", **more):
    state = {"name": "ray", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    return {**state, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def ended(code, reason):
    return {"exitCode": code, "reason": reason}


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient gpu"}
CRASHED = waiting("CrashLoopBackOff", restartCount=4, lastState={"terminated": ended(137, "OOMKilled")})


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (
            {"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff", "no such image")]},
            "ImagePullBackOff: no such image",
        ),
        ({"phase": "Pending", "conditions": [NO_NODE]}, "Unschedulable: Insufficient gpu"),
        (
            {"phase": "Running", "containerStatuses": [CRASHED]},
            r"CrashLoopBackOff after 4 restarts; ended with 137 \(OOMKilled\)",
        ),
        ({"phase": "Pending"}, "FailedMount: secret divisions not found"),
    ],
    ids=["image", "node", "crash", "event"],
)
def test_a_pod_that_never_gets_ready_is_told_with_its_reason(world, status, told):
    calls = []

    def fail():
        if not calls:
            world.nodes.make_pod("g-0", "gateway", status)
            world.nodes.warn("g-0", "FailedMount", "secret divisions not found")
        calls.append(1)

    world.on_pause = fail
    with pytest.raises(ClusterError, match=rf"not ready after 60 s: .*gateway 0/2.*g-0: {told}"):
        world.deploy()
    assert not world.started


def test_a_job_that_has_failed_ends_the_wait_at_once(world):
    failed = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "no PostgreSQL"}
    world.on_pause = lambda: world.nodes.end_job(failed)
    with pytest.raises(ClusterError, match="the job that attaches has failed: no PostgreSQL"):
        world.deploy()
    assert world.clock.now_s == 2
