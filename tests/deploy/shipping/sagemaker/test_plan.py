"""The plan for an endpoint: from each thing that SageMaker can have to the release, and no step more."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.shipping.release import Release
from deploy.shipping.sagemaker.names import MAX_CHARACTERS, is_sagemaker_name, model_name, named
from deploy.shipping.sagemaker.observed import Endpoint, Observed, Situation, Variant, situation
from deploy.shipping.sagemaker.plan import make_plan
from deploy.shipping.sagemaker.rollout import policy_of, state_of
from deploy.shipping.sagemaker.settings import SageMakerSettings
from deploy.shipping.target_file import parse_targets
from divisions.analysis_spec import AnalysisSpec
from divisions.errors import ClusterError, ConflictError, LatchedSpecError, PipelineError, UsageError
from router.rollouts.canary import Baking, Promoted, Stepping, Warming

RELEASE = Release("churn-predictor", "3.2", "churn", "churn-predictor/0123", "0" * 64, "churn-v3", "1" * 64)
SETTINGS = SageMakerSettings("i", "r", "s3://b", "ml.m5.large", 2, "churn")
STEPS_BP = (2_000, 5_000, 10_000)


def variant(name, weight=1.0):
    return Variant(name, "ml.m5.large", weight, 3, 3)


def endpoint(*variants, status="InService", failure=""):
    return Endpoint("churn", status, "config", variants, failure)


def plan(found=None, has=True, rolled_back="", is_watched=True, is_forced=False):
    observed = Observed(found, has, has, rolled_back)
    return make_plan(RELEASE, "v3", SETTINGS, STEPS_BP, observed, is_watched=is_watched, is_forced=is_forced)


def names(found):
    return [step.name for step in found.steps]


def test_the_first_version_gets_an_endpoint_of_its_own():
    found = plan(has=False)
    assert names(found) == ["upload", "model", "create"]
    assert found.changes == ("- churn: nothing", "+ churn: churn-predictor 3.2 (v3)")
    assert found.costs == ("2 × ml.m5.large for 3.2",)


def test_a_version_beside_another_is_added_and_watched_and_its_price_is_told():
    found = plan(endpoint(variant("v2")), has=False)
    assert names(found) == ["upload", "model", "add", "watch"]
    assert found.steps[-1].title == "Shift 20 % → 50 % → 100 % of churn to 3.2 and watch it"
    assert found.costs == ("2 × ml.m5.large for 3.2, beside 3 × ml.m5.large of v2 until a while after its promotion",)


def test_what_is_done_is_no_step():
    assert names(plan(endpoint(variant("v2")))) == ["add", "watch"]
    assert names(plan(endpoint(variant("v2", 80.0), variant("v3", 20.0)))) == ["watch"]
    assert names(plan(endpoint(variant("v2", 0.0), variant("v3", 100.0)))) == ["watch"]
    assert names(plan(endpoint(variant("v3"), status="Creating"))) == ["create"]
    assert plan(endpoint(variant("v3"))).steps == ()


def test_the_version_before_goes_back_from_any_weight():
    found = plan(endpoint(variant("v3", 50.0), variant("v4", 50.0)))
    assert [step.title for step in found.steps] == ["Give all traffic back to 3.2, and remove v4"]
    assert found.changes[0] == "- churn: v4 (50 %)"


def test_a_third_version_waits_for_the_end_of_two_others():
    with pytest.raises(ConflictError, match="endpoint churn is between v1 and v2"):
        plan(endpoint(variant("v1", 80.0), variant("v2", 20.0)))
    for weights in ((100.0, 0.0), (0.0, 100.0)):
        both = (variant("v1", weights[0]), variant("v2", weights[1]))
        assert names(plan(endpoint(*both))) == ["add", "watch"]
        assert situation(endpoint(*both), "v3") is Situation.OTHER


def test_what_was_rolled_back_needs_force():
    with pytest.raises(LatchedSpecError, match=r"was rolled back from churn: errors\. .*--force"):
        plan(endpoint(variant("v2")), rolled_back="errors")
    assert names(plan(endpoint(variant("v2")), rolled_back="errors", is_forced=True)) == ["add", "watch"]


def test_a_rollout_that_nobody_watches_is_refused():
    with pytest.raises(UsageError, match="driven by this command"):
        plan(endpoint(variant("v2")), is_watched=False)
    assert names(plan(is_watched=False)) == ["create"]


def test_an_endpoint_that_has_failed_is_deleted_by_force_only():
    failed = endpoint(variant("v2"), status="Failed", failure="no capacity")
    with pytest.raises(ClusterError, match=r"has failed: no capacity\. mend the cause"):
        plan(failed)
    assert names(plan(failed, is_forced=True)) == ["delete", "create"]


def test_endpoints_that_are_not_ours_to_change():
    with pytest.raises(ConflictError, match="has 3 variants"):
        plan(endpoint(variant("a"), variant("b"), variant("c")))
    with pytest.raises(ClusterError, match="no variant of endpoint churn has weight"):
        plan(endpoint(variant("a", 0.0), variant("b", 0.0)))


def test_a_weight_says_which_step_a_canary_is_in():
    policy = policy_of(STEPS_BP, AnalysisSpec(), holds_on_failure=False)
    assert isinstance(state_of(0, policy, 1.0), Warming)
    assert [state_of(weight, policy, 1.0).index for weight in (2_000, 5_000)] == [0, 1]
    assert isinstance(state_of(5_000, policy, 1.0), Stepping)
    assert isinstance(state_of(9_700, policy, 1.0), Baking)
    assert isinstance(state_of(10_000, policy, 1.0), Promoted)
    with pytest.raises(ConflictError, match=r"has 33 % of the traffic, and the steps are 20, 50, 97 %"):
        state_of(3_300, policy, 1.0)


@given(st.text(max_size=200), st.text())
def test_every_name_is_one_at_sagemaker_and_the_same_for_the_same_content(what, content):
    name = named("m" + what, content)
    assert is_sagemaker_name(name)
    assert len(name) <= MAX_CHARACTERS
    assert name == named("m" + what, content)


def test_another_image_role_or_bundle_is_another_model():
    first = model_name(RELEASE, "image", "role")
    assert first.startswith("churn-predictor-v3-2-")
    assert len({first, model_name(RELEASE, "other", "role"), model_name(RELEASE, "image", "other")}) == 3


TARGET = """
targets:
  eu:
    kind: sagemaker
    image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/divisions@sha256:{digest}
    execution_role: arn:aws:iam::123456789012:role/service-role/sagemaker
    bucket: s3://models/divisions
    instance_type: ml.g4dn.xlarge
    instances: 2
    region: eu-central-1
    profile: deployer
    role: arn:aws:iam::123456789012:role/ship
"""


def test_the_file_of_targets():
    found = parse_targets(TARGET.format(digest="a" * 64))["eu"].settings
    assert (found.bucket, found.instances, found.role) == (
        "s3://models/divisions",
        2,
        "arn:aws:iam::123456789012:role/ship",
    )
    assert (found.endpoint, found.startup_s) == ("", 600)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("    image: registry/divisions:latest", r"'registry/divisions:latest' is not an image by its digest"),
        ("    execution_role: sagemaker", r"'sagemaker' is not the ARN of a role"),
        ("    bucket: models", r"'models' is not a place in S3. write it as s3://bucket/prefix"),
        ("    instance_type: m5.large", r"'m5.large' is not a type of instances"),
        ("    region: frankfurt", r"'frankfurt' is not a region"),
        ("    endpoint: a_b", r"'a_b' is no name at SageMaker"),
        ("    instances: 0", "a whole number from 1 to 1000"),
        ("    startup_s: 5", "a whole number from 60 to 3600"),
        ("    instnces: 2", "did you mean 'instances'"),
    ],
)
def test_mistakes_in_it_have_their_line(line, says):
    key = re.match(r" *(\w+)", line)[1]
    lines = [each for each in TARGET.format(digest="a" * 64).splitlines() if not each.startswith(f"    {key}:")]
    with pytest.raises(PipelineError, match=says) as caught:
        parse_targets("\n".join([*lines, line]))
    assert caught.value.line == len(lines) + 1


def test_what_every_target_of_the_kind_needs():
    with pytest.raises(PipelineError) as caught:
        parse_targets("targets:\n  eu:\n    kind: sagemaker\n")
    missing = {error.message for error in (caught.value, *caught.value.others)}
    keys = ("image", "execution_role", "bucket", "instance_type")
    assert missing == {f"targets.eu: key {key!r} is missing" for key in keys}
