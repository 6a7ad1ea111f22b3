"""What is not ready, and why, from the status that pods have; and the table of pods."""

import pytest

from deploy.kubernetes.pod_table import rows
from deploy.kubernetes.readiness import judge, reasons_of
from divisions.commands.pods import render_pods

CLUSTER = {
    "metadata": {"name": "divisions"},
    "spec": {"workerGroupSpecs": [{"groupName": "gateway", "replicas": 1}, {"groupName": "canary", "replicas": 0}]},
}
NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes:\n Insufficient nvidia.com/gpu",
}
CRASHED = {
    "restartCount": 4,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
}
DONE = {"status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}}


def pod(name, group="gateway", *, ready=True, conditions=(), containers=(), **metadata):
    state = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {
            "name": name,
            "labels": {"ray.io/group": group},
            "creationTimestamp": "2025-01-14T02:00:00Z",
            **metadata,
        },
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "node-gpu-01"},
        "status": {
            "phase": "Running",
            "podIP": "10.24.1.8",
            "conditions": [state, *conditions],
            "containerStatuses": list(containers),
        },
    }


HEAD = pod("head", "headgroup")


def test_all_is_ready_when_every_group_has_its_pods_and_the_job_has_succeeded():
    assert judge(CLUSTER, DONE, [HEAD, pod("g")], []).is_ready
    assert judge(CLUSTER, DONE, [HEAD], []).waiting == ("gateway 0/1",)
    assert judge(CLUSTER, None, [HEAD, pod("g")], []).waiting == ("the job that attaches",)
    assert judge(None, None, [], []).waiting == ("KubeRay to take the RayCluster",)


def test_a_pod_that_is_being_deleted_does_not_count():
    gone = pod("g", deletionTimestamp="2025-01-14T02:00:00Z")
    found = judge(CLUSTER, DONE, [HEAD, gone], [])
    assert (found.is_ready, found.has_gateway) == (False, False)


@pytest.mark.parametrize(
    "status",
    [
        {"jobDeploymentStatus": "Failed", "message": "no GCS"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "FAILED", "message": "no GCS"},
    ],
)
def test_a_job_that_failed_is_no_reason_to_wait(status):
    assert (
        judge(CLUSTER, {"status": status}, [HEAD, pod("g")], []).failure == "the job that attaches has failed: no GCS"
    )


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (
            {"conditions": [NO_NODE]},
            "Unschedulable: 0/3 nodes: Insufficient nvidia.com/gpu",
        ),
        (
            {"containers": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling x"}}}]},
            "ImagePullBackOff: Back-off pulling x",
        ),
        (
            {"containers": [CRASHED]},
            "CrashLoopBackOff after 4 restarts; ended with 137 (OOMKilled)",
        ),
        ({"containers": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, "FailedMount: no Secret divisions"),
    ],
)
def test_the_reason_of_a_pod_is_one_line(state, reason):
    def event(time, kind, name, message):
        return {
            "type": "Warning",
            "reason": kind,
            "message": message,
            "lastTimestamp": time,
            "involvedObject": {"name": name},
        }

    events = [
        event("2025-01-14T02:00:01Z", "Older", "g", "x"),
        event("2025-01-14T02:00:02Z", "FailedMount", "g", "no Secret divisions"),
        event("2025-01-14T02:00:03Z", "FailedMount", "another", "y"),
    ]
    assert reasons_of([pod("g", ready=False, **state)], events) == (f"g: {reason}",)
    assert reasons_of([pod("g", **state)], events) == (), "it is ready by now"


def test_pods_with_the_same_reason_share_a_line():
    waiting = [{"state": {"waiting": {"reason": "ErrImagePull"}}}]
    found = reasons_of([pod(name, ready=False, containers=waiting) for name in ("b", "a")], [])
    assert found == ("a, b: ErrImagePull",)


def test_pods_are_shown_as_the_page_shows_them():
    up = [{"ready": True, "restartCount": 0, "state": {"running": {}}}] * 2
    stable = pod("churn-predictor-v3-6b4f8d9c-xk2m", containers=up, annotations={"divisions/gpu": "T4/1"})
    canary = pod("churn-predictor-v3-canary-z8n1", containers=up[:1], annotations={"divisions/gpu": "T4/0.5"})
    found = rows([canary, stable], 1_736_820_000.0 + 14 * 3600)
    assert render_pods("staging", found, []).splitlines() == [
        "NAME                               READY   STATUS    RESTARTS   AGE   IP          NODE          GPU",
        "churn-predictor-v3-6b4f8d9c-xk2m   2/2     Running   0          14h   10.24.1.8   node-gpu-01   T4/1",
        "churn-predictor-v3-canary-z8n1     1/2     Running   0          14h   10.24.1.8   node-gpu-01   T4/0.5",
    ]
    assert render_pods("staging", [], []) == "No pods: nothing is deployed to staging."


def test_the_status_is_the_reason_of_a_container_as_kubectl_shows_it():
    waiting = [{"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    (row,) = rows([pod("a", containers=waiting)], 1_736_820_000.0)
    assert (row.status, row.restarts, row.ready) == ("CrashLoopBackOff", 3, "0/2")
    (row,) = rows([pod("a", deletionTimestamp="2025-01-14T02:00:00Z")], 1_736_820_000.0)
    assert row.status == "Terminating"
