import pytest

from deploy.cluster.warm import failure
from divisions.sdk.calls import ServiceStatus
from divisions.status import ReplicaStatus
from tests.builders import rollout_status


def replica(name, version, status, reason=""):
    return ReplicaStatus(name, status == "Running", status, 0, 0.0, "", "", "", version, "stable", 0, 0, "", "", reason)


CHURN = rollout_status(endpoint="churn", model="churn-predictor", stable_version="3.1")
LEADS = rollout_status(endpoint="leads", model="leads-predictor", stable_version="3.1")


@pytest.mark.parametrize(
    ("replicas", "reason"),
    [
        ([], ""),
        ([replica("churn-predictor-v3.1#a", "3.1", "Running")], ""),
        ([replica("churn-predictor-v3.1#a", "3.1", "Lost", "silent")], ""),
        ([replica("churn-predictor-v3.1", "3.1", "Failing", "there is no bundle")], "there is no bundle"),
        ([replica("churn-predictor-v3.1", "3.1", "Failing")], "its replicas do not start"),
        ([replica("churn-predictor-v3.2", "3.2", "Failing", "the canary's")], ""),
        ([replica("leads-predictor-v3.1", "3.1", "Failing", "another endpoint's")], ""),
    ],
)
def test_an_endpoint_fails_when_the_replicas_of_its_stable_version_do_not_start(replicas, reason):
    assert failure(ServiceStatus(epoch=1, replicas=tuple(replicas), rollouts=(CHURN, LEADS)), "churn") == reason
