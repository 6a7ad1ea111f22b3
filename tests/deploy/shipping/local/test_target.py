"""The plan for a cluster that runs: from what it serves to the release, and no step more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.shipping.local import going_back
from deploy.shipping.local.target import ENDED, LocalTarget, make_plan, status_line
from deploy.shipping.release import Act, Ending, Release
from deploy.shipping.target import Served, Work
from divisions.errors import ConflictError, UnknownVersionError
from divisions.pipeline.file import parse_pipeline
from divisions.status import Evidence
from tests.builders import rollout_status

RELEASE = Release("churn-predictor", "3.2", "churn", "churn-predictor/0123", "0" * 64, "churn-v3", "1" * 64)
PIPELINE = parse_pipeline(
    "pipeline: churn-v3\nstages:\n  data_prep:\n    input: d\n  deployment:\n    endpoint: /api/v2/predict/churn\n"
    "    strategy: 'canary: 20% → 50% → 100%'\n"
)
PHASES = ["PENDING", "WARMING", "SHADOW", "STEP", "BAKE", "HOLD", "ROLLING_BACK", "DRAINING", "PROMOTED", "ROLLED_BACK"]


def plan(rollout=None, is_watched=True, is_forced=False):
    return make_plan(RELEASE, PIPELINE, rollout, is_watched=is_watched, is_forced=is_forced)


def names(found):
    return [step.name for step in found.steps]


def test_the_first_version_gets_all_traffic_at_once():
    found = plan()
    assert names(found) == ["start", "watch"]
    assert (
        found.steps[0].title == "Start the rollout of churn-predictor 3.2 (all traffic at once: nothing is served yet)"
    )
    assert found.changes[0] == "- churn: nothing"


def test_a_version_beside_another_is_a_canary_in_the_pipelines_steps():
    found = plan(rollout_status(phase="PROMOTED", stable_version="3.1", canary_version=None))
    assert found.steps[0].title == "Start the rollout of churn-predictor 3.2 (canary 20 % → 50 % → 100 %)"
    assert found.changes == (
        "- churn: churn-predictor 3.1",
        "+ churn: churn-predictor 3.2, 2 replicas beside the present ones until it is promoted",
    )
    assert found.costs == ("1 CPUs",)


def test_a_rollout_of_the_release_that_is_under_way_is_only_watched():
    assert names(plan(rollout_status())) == ["watch"]
    assert names(plan(rollout_status(), is_watched=False)) == []


def test_what_is_served_already_changes_nothing():
    for ending in (
        rollout_status(phase="PROMOTED", stable_version="3.2", canary_version=None),
        rollout_status(phase="ROLLED_BACK", stable_version="3.2", canary_version="3.3"),
    ):
        assert plan(ending).steps == ()


def test_one_that_was_rolled_back_is_started_again_and_the_controller_asks_for_force():
    found = plan(rollout_status(phase="ROLLED_BACK"), is_forced=True)
    assert names(found) == ["start", "watch"]
    assert "by force" in found.steps[0].title


OLD = Release("churn-predictor", "3.1", "churn", "churn-predictor/4567", "0" * 64, "churn-v3", "1" * 64)
PROMOTED = rollout_status(phase="PROMOTED", stable_version="3.2", previous_version="3.1")


class Cluster:
    """The control API of a cluster: what was commanded, and what is watched after it."""

    def __init__(self, rollout, *ahead):
        self.now, self.ahead, self.commands = rollout, ahead, []

    def rollouts(self):
        return [self.now]

    def rollout(self, endpoint):
        assert endpoint == "churn"
        return self

    def rollback(self, to, *, generation):
        self.commands.append((to, generation))
        return self.now

    def watch(self, patience):
        yield from self.ahead


def go_back(cluster):
    target = LocalTarget("staging", "http://x", cluster, PIPELINE, lambda: None, goes_back=True)
    found = target.plan(OLD, is_watched=True)
    work = Work(OLD)
    receipts = [target.watch(work) if step.act is Act.WATCH else target.apply(step, work) for step in found.steps]
    return [receipt.ending for receipt in receipts]


def test_the_way_back_is_one_command_and_no_comparison():
    back = rollout_status(phase="PROMOTED", stable_version="3.1", canary_version="3.1")
    cluster = Cluster(PROMOTED, rollout_status(phase="WARMING", stable_version="3.2", canary_version="3.1"), back)
    assert go_back(cluster) == [Ending.STARTED, Ending.PROMOTED]
    assert cluster.commands == [("3.1", PROMOTED.generation)]


def test_while_a_rollout_runs_the_way_back_takes_the_canarys_traffic():
    cluster = Cluster(rollout_status(), rollout_status(phase="DRAINING"), rollout_status(phase="ROLLED_BACK"))
    assert go_back(cluster) == [Ending.STARTED, Ending.PROMOTED]
    assert cluster.commands == [("3.1", 1)]


def test_a_way_back_that_was_cut_off_is_only_watched():
    for under_way in (
        rollout_status(phase="DRAINING"),
        rollout_status(phase="WARMING", stable_version="3.2", canary_version="3.1"),
    ):
        cluster = Cluster(under_way, rollout_status(phase="ROLLED_BACK"))
        assert go_back(cluster) == [Ending.PROMOTED]
        assert cluster.commands == []
    assert go_back(Cluster(rollout_status(phase="ROLLED_BACK"))) == []


def test_during_a_rollout_the_way_back_leads_to_what_it_began_from_only():
    under_way = rollout_status(stable_version="3.2", canary_version="3.3")
    with pytest.raises(ConflictError, match=r"churn is between 3\.2 and 3\.3.*go back to 3\.2 first"):
        going_back.make_plan(OLD, under_way, is_watched=True)


def test_a_way_back_that_fails_is_told():
    refused = rollout_status(phase="ROLLED_BACK", stable_version="3.2", canary_version="3.1")
    assert go_back(Cluster(PROMOTED, refused))[-1] is Ending.ROLLED_BACK


def test_what_was_served_before_is_the_clusters_own_word():
    assert going_back.served(None) == Served("", "")
    assert going_back.served(PROMOTED) == Served("3.2", "3.1")
    assert going_back.served(rollout_status()) == Served("3.2", "3.1")
    assert going_back.served(rollout_status(phase="ROLLED_BACK")) == Served("3.1", "")


@pytest.mark.parametrize("rollout", [None, rollout_status(model="other")])
def test_there_is_no_way_back_where_nothing_is_served(rollout):
    with pytest.raises(UnknownVersionError, match="churn serves no version of churn-predictor"):
        going_back.make_plan(OLD, rollout, is_watched=True)


@given(
    phase=st.sampled_from(PHASES),
    stable=st.sampled_from([None, "3.1", "3.2"]),
    canary=st.sampled_from([None, "3.1", "3.2", "3.3"]),
    model=st.sampled_from(["churn-predictor", "other"]),
    is_watched=st.booleans(),
)
def test_it_is_started_unless_it_is_served_or_on_its_way(phase, stable, canary, model, is_watched):
    rollout = rollout_status(phase=phase, stable_version=stable, canary_version=canary, model=model)
    found = names(plan(rollout, is_watched=is_watched))
    is_rolling = phase not in ENDED and canary == "3.2" and model == "churn-predictor"
    is_served = phase in ENDED and stable == "3.2" and model == "churn-predictor"
    assert ("start" in found) is not (is_rolling or is_served)
    assert ("watch" in found) is (is_watched and not is_served)


def test_a_line_of_the_watch_has_weight_phase_message_and_evidence():
    status = rollout_status(
        message="step 1/3", evidence=Evidence(canary_requests=2_000, canary_errors=1, input_drift=0.02)
    )
    assert status_line(status) == (
        "STEP 20 % of churn to 3.2: step 1/3 | canary: 2,000 requests, errors 0.05%, drift 0.02"
    )
    assert status_line(rollout_status(rollback_reason="slow")) == "STEP 20 % of churn to 3.2: slow"
