"""Deployments to SageMaker by moto: weights by the rollout's rules, back to 0 on a regression, resumed after a kill."""

from __future__ import annotations

import boto3
import pytest
from moto.cloudwatch.models import CloudWatchBackend
from moto.sagemaker.exceptions import SagemakerClientError
from moto.sagemaker.models import SageMakerModelBackend

from deploy.shipping.release import Ending
from deploy.shipping.sagemaker import rollout
from deploy.shipping.target import Served
from divisions.errors import (
    CloudError,
    ClusterError,
    ConflictError,
    ExpiredCredentialsError,
    LatchedSpecError,
    RolloutError,
)
from tests.deploy.shipping.sagemaker.world import BUCKET, Behaviour, KilledError

QUICK = "    analysis: {bake_s: 60, keep_stable_s: 60}\n"
FIRST = ("3-1: 100",)
STEPS = [FIRST, ("3-1: 100", "3-2: 0"), ("3-1: 80", "3-2: 20"), ("3-1: 50", "3-2: 50"), ("3-1: 3", "3-2: 97")]
WHOLE = [*STEPS, ("3-1: 0", "3-2: 100"), ("3-2: 100",)]


@pytest.fixture
def served(world):
    """3.1 serves all traffic."""
    world.analysis = QUICK
    assert world.deploy("3.1") is Ending.PROMOTED
    world.said.clear()
    return world


def kills_at(world, pauses):
    """Ends the process at these pauses, counted from now."""
    count = 0

    def count_and_kill():
        nonlocal count
        count += 1
        if count in pauses:
            raise KilledError

    world.on_pause = count_and_kill


def test_traffic_is_shifted_in_steps_and_the_version_before_goes_after_a_while(served):
    assert served.deploy("3.2") is Ending.PROMOTED
    assert served.shares == WHOLE
    lines = "\n".join(served.said)
    assert "✓ Authenticate with AWS (IAM, eu-central-1) (0.0 s: arn:aws:sts::123456789012:" in lines
    assert "20 %: 3 min, 3,600 requests | Latency: 20.1 ms (stable 20.1 ms) | Error Rate: 0.00% (stable 0.00%)" in lines
    assert "2 × ml.m5.large of bench-model-v3-1-" in lines
    assert served.said[-1] == "✓ bench-model 3.2 serves all traffic of sagemaker"


def test_the_model_is_the_bundle_in_the_image_and_says_what_it_must_be(served):
    (model,) = served.backend._models.values()
    release = served.release("3.1")
    container = model.primary_container
    assert container["Environment"] == {
        "DIVISIONS_SERVE_ENDPOINT": "churn",
        "DIVISIONS_SERVE_VERSION": "3.1",
        "DIVISIONS_SERVE_SHA256": release.bundle_sha256,
    }
    key = container["ModelDataUrl"].removeprefix(f"s3://{BUCKET}/")
    assert key == f"divisions/{release.model}/{release.bundle_sha256[:16]}/model.tar.gz"
    content = served.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert content[:2] == b"\x1f\x8b"


def test_an_unchanged_version_changes_nothing(served):
    before = (dict(served.backend._models), dict(served.backend.endpoint_configs), served.endpoint.last_modified_time)
    began_s = served.clock.monotonic_s()
    assert served.deploy("3.1") is Ending.UNCHANGED
    after = (dict(served.backend._models), dict(served.backend.endpoint_configs), served.endpoint.last_modified_time)
    assert (before, began_s) == (after, served.clock.monotonic_s())
    assert served.said[-1] == "✓ sagemaker serves bench-model 3.1 already: nothing was changed"


def test_a_plan_changes_nothing_and_names_what_costs(served):
    before = dict(served.backend._models)
    plan = served.target("3.2").plan(served.release("3.2"), is_watched=True)
    assert [step.name for step in plan.steps] == ["upload", "model", "add", "watch"]
    assert plan.costs[0].startswith("2 × ml.m5.large for 3.2, beside 2 × ml.m5.large of bench-model-v3-1-")
    assert dict(served.backend._models) == before


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [(Behaviour(error_rate=0.05), "errors: the canary fails"), (Behaviour(latency_ms=26.0), "latency: the canary is")],
)
def test_a_regression_goes_back_to_0_and_is_not_tried_again(served, behaviour, reason):
    served.behaviours["3.2"] = behaviour
    assert served.deploy("3.2") is Ending.ROLLED_BACK
    shares = [share for share in served.shares if share not in STEPS]
    assert shares == []
    assert served.shares[-2:] == [("3-1: 100", "3-2: 0"), FIRST]
    assert any(reason in line for line in served.said)
    with pytest.raises(LatchedSpecError, match=rf"was rolled back from churn: {reason}.*--force"):
        served.deploy("3.2")
    assert served.weights == {"bench-model-v3-1": 100.0}


def test_by_force_it_comes_again_and_is_forgiven(served):
    model = served.target("3.2")._model_name(served.release("3.2"))
    served.target("3.2")._create_model(served.release("3.2"), model)
    hosting = served.target("3.2")._hosting
    hosting.tag_rolled_back(hosting.model(model)["ModelArn"], "errors: (12 %)")
    with pytest.raises(LatchedSpecError, match="was rolled back from churn: errors: 12"):
        served.deploy("3.2")
    assert served.deploy("3.2", is_forced=True) is Ending.PROMOTED
    assert served.shares == WHOLE
    assert hosting.rolled_back(hosting.model(model)["ModelArn"]) == ""


def test_a_deployment_that_is_killed_again_and_again_gets_to_the_same_end(served):
    kills_at(served, {1, 5, 12, *range(20, 2_000, 17)})
    endings, kills = [], 0
    while not endings:
        try:
            endings.append(served.deploy("3.2"))
        except KilledError:
            kills += 1
    assert endings == [Ending.PROMOTED]
    assert kills > 8
    assert served.shares == WHOLE


def test_a_rollback_that_is_killed_goes_on_and_the_release_is_not_tried_again(served):
    served.behaviours["3.2"] = Behaviour(error_rate=0.05)
    served.on_pause = lambda: _kill_while(served, ("3-1: 100", "3-2: 0"), after=("3-1: 80", "3-2: 20"))
    with pytest.raises(KilledError):
        served.deploy("3.2")
    served.on_pause = lambda: None
    assert served.deploy("3.2") is Ending.ROLLED_BACK
    assert served.shares[-3:] == [("3-1: 80", "3-2: 20"), ("3-1: 100", "3-2: 0"), FIRST]


def _kill_while(world, share, after):
    if after in world.shares and world.shares[-1] == share:
        raise KilledError


def test_without_traffic_it_holds_and_the_version_before_goes_back(served):
    served.requests_per_minute = 0
    with pytest.raises(RolloutError, match=r"holds at 20 %: undecided: .*deploy the version before to go back"):
        served.deploy("3.2")
    assert served.weights == {"bench-model-v3-1": 80.0, "bench-model-v3-2": 20.0}
    with pytest.raises(ConflictError, match="is between"):
        served.deploy("3.3")
    assert served.deploy("3.1") is Ending.PROMOTED
    assert served.shares[-2:] == [("3-1: 100", "3-2: 0"), FIRST]


def test_the_version_before_is_known_while_its_variant_is_there_and_gets_all_traffic_back_at_once(served):
    assert served.target("3.1").served("churn") == Served("3.1", "")
    served.requests_per_minute = 0
    with pytest.raises(RolloutError, match="holds at 20 %"):
        served.deploy("3.2")
    assert served.target("3.2").served("churn") == Served("3.2", "3.1")
    assert served.deploy("3.1", goes_back=True) is Ending.PROMOTED
    assert served.shares[-2:] == [("3-1: 100", "3-2: 0"), FIRST]
    assert served.target("3.2").served("churn") == Served("3.1", "")


def test_nothing_is_known_where_there_is_no_endpoint(world):
    assert world.target("3.1").served("churn") == Served()


def test_a_weight_that_somebody_has_set_is_told(served):
    kills_at(served, {30})
    with pytest.raises(KilledError):
        served.deploy("3.2")
    for variant, weight in zip(served.endpoint.production_variants, (67.0, 33.0), strict=True):
        variant["CurrentWeight"] = variant["DesiredWeight"] = weight
    with pytest.raises(ConflictError, match="has 33 % of the traffic"):
        served.deploy("3.2")


def test_a_weight_that_changes_in_mid_way_is_not_overwritten(served):
    def set_by_hand():
        if any("20 %: 1 min" in line for line in served.said):
            for variant, weight in zip(served.endpoint.production_variants, (90.0, 10.0), strict=True):
                variant["CurrentWeight"] = variant["DesiredWeight"] = weight

    served.on_pause = set_by_hand
    with pytest.raises(ConflictError, match="somebody else has given the canary 10 % of the traffic, it had 20 %"):
        served.deploy("3.2")
    assert served.weights == {"bench-model-v3-1": 90.0, "bench-model-v3-2": 10.0}


class _Kept(dict):
    """Clients that are as good after a log-in as before."""

    def clear(self):
        pass


def test_the_rollout_outlasts_credentials_and_an_absence_of_cloudwatch(served, monkeypatch):
    """Somebody logs in again within a quarter of an hour, and the network comes back."""
    read, failing = CloudWatchBackend.get_metric_data, {"left": 3}

    def sometimes(*arguments, **options):
        if failing["left"]:
            failing["left"] -= 1
            error = SagemakerClientError("The security token included in the request is expired")
            error.code = "ExpiredToken"
            raise error
        return read(*arguments, **options)

    monkeypatch.setattr(CloudWatchBackend, "get_metric_data", sometimes)
    monkeypatch.setattr(served.session, "_opened", lambda: served.session._session)
    monkeypatch.setattr(served.session, "_clients", _Kept(served.session._clients))
    assert served.deploy("3.2") is Ending.PROMOTED
    assert served.shares == WHOLE
    (told,) = [line for line in served.said if "have expired" in line]
    assert "reading the metrics of endpoint churn: the credentials for AWS have expired" in told
    failing["left"] = 10_000
    monkeypatch.setattr(rollout, "PATIENCE_S", 90.0)
    with pytest.raises(ExpiredCredentialsError, match="run the same command again"):
        served.deploy("3.3")
    assert served.weights == {"bench-model-v3-2": 80.0, "bench-model-v3-3": 20.0}


def test_an_update_that_fails_leaves_what_served(served):
    served.failure = "The primary container for production variant v3-2 did not pass the ping health check."
    with pytest.raises(ClusterError, match=r"could not change endpoint churn: The primary container .*Endpoints/churn"):
        served.deploy("3.2")
    assert served.weights == {"bench-model-v3-1": 100.0}
    served.failure = ""
    assert served.deploy("3.2") is Ending.PROMOTED


def test_an_endpoint_that_never_starts_is_deleted_by_force_only(world):
    world.failure = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity."
    with pytest.raises(ClusterError, match=r"endpoint churn is Failed: Unable to provision"):
        world.deploy("3.1")
    with pytest.raises(ClusterError, match=r"endpoint churn has failed: Unable .*--force, which deletes"):
        world.deploy("3.1")
    world.failure = ""
    assert world.deploy("3.1", is_forced=True) is Ending.PROMOTED


@pytest.mark.parametrize(
    ("operation", "code", "message", "says"),
    [
        (
            "create_endpoint",
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.m5.large for endpoint usage' is 1 Instances",
            r"creating endpoint churn: a quota of the account is used up: .* is 1 Instances\. ask for more",
        ),
        (
            "create_model",
            "AccessDeniedException",
            "User: arn:ann is not authorized to perform: iam:PassRole on resource: arn:role",
            r"creating model bench-model-v3-1-\w+: arn:ann may not iam:PassRole on arn:role\. ",
        ),
    ],
)
def test_a_quota_and_a_right_are_one_line_and_the_same_command_goes_on(
    world, monkeypatch, operation, code, message, says
):
    def refuse(*_, **__):
        error = SagemakerClientError(message)
        error.code = code
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(SageMakerModelBackend, operation, refuse)
        with pytest.raises(CloudError, match=says) as caught:
            world.deploy("3.1")
        assert "\n" not in str(caught.value)
    assert world.deploy("3.1") is Ending.PROMOTED


def test_an_endpoint_of_somebody_else_keeps_what_its_configuration_says(world):
    client = world.client("sagemaker")
    client.create_model(ModelName="theirs", ExecutionRoleArn="arn:aws:iam::123456789012:role/x")
    capture = {
        "InitialSamplingPercentage": 10,
        "DestinationS3Uri": "s3://b/c",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    variant = {"VariantName": "AllTraffic", "ModelName": "theirs", "InstanceType": "ml.c5.large"}
    client.create_endpoint_config(
        EndpointConfigName="theirs",
        ProductionVariants=[{**variant, "InitialInstanceCount": 3, "InitialVariantWeight": 1.0}],
        DataCaptureConfig=capture,
    )
    client.create_endpoint(EndpointName="churn", EndpointConfigName="theirs")
    world.pause(60.0)
    world.analysis = QUICK
    kills_at(world, {40})
    with pytest.raises(KilledError):
        world.deploy("3.2")
    config = client.describe_endpoint_config(EndpointConfigName=world.endpoint.endpoint_config_name)
    assert config["DataCaptureConfig"] == capture
    stable = config["ProductionVariants"][0]
    assert (stable["ModelName"], stable["InitialInstanceCount"]) == ("theirs", 3)
    world.on_pause = lambda: None
    assert world.deploy("3.2") is Ending.PROMOTED


def test_a_serverless_endpoint_cannot_be_shifted(world):
    client = world.client("sagemaker")
    client.create_model(ModelName="theirs", ExecutionRoleArn="arn:aws:iam::123456789012:role/x")
    variant = {
        "VariantName": "v",
        "ModelName": "theirs",
        "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
    }
    client.create_endpoint_config(EndpointConfigName="theirs", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="churn", EndpointConfigName="theirs")
    with pytest.raises(ConflictError, match="has no instances of its own"):
        world.deploy("3.2")


def test_the_client_is_imported_when_it_is_needed():
    """boto3 takes a tenth of a second, and `divisions deploy --target local` must not wait for it."""
    import subprocess
    import sys

    assert boto3
    code = "import sys, deploy.shipping.target_file, deploy.aws.session; print('botocore' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
