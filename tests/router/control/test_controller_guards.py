"""The controller's further guards: breakers, the split, drift, shadow, the choice of salt, nothing left to compare."""

import msgspec
import pytest

from divisions.control import FULL_BP, RolloutCommand
from divisions.reports import BreakerTrip, SaltScores
from router.evidence import salts
from tests.router.rollout_world import ANALYSIS, spec


def start(world, phase="STEP", **analysis):
    changed = msgspec.structs.replace(ANALYSIS, **analysis)
    policy = {"rollback_policy": "hold"} if analysis.pop("holds", False) else {}
    world.controller.start_rollout(spec("3.2", analysis=changed, **policy))
    world.until(phase)


def trip(world):
    salt = world.controller.table.endpoints[0].salt
    return BreakerTrip(salt, "churn-predictor-v3.2", 15.0, 13.8, 100, 0, 25, 20)


# ---- breakers ---------------------------------------------------------------------------------------------------


def test_a_breaker_that_trips_in_one_gateway_rolls_back_at_once(world):
    start(world)
    world.trip = trip(world)
    world.controller.report(world._report(int(world.clock.monotonic_s()) - 1))
    status = world.status()
    assert (status.phase, status.actual_weight_bp) == ("ROLLING_BACK", 0)
    assert status.explanation.guard == "breaker"
    assert (status.explanation.canary_exceeded, status.explanation.canary_requests) == (20, 25)
    world.until("ROLLED_BACK")
    assert "breaker" in world.status().rollback_reason


def test_a_breaker_of_an_earlier_rollout_is_no_news(world):
    start(world)
    world.trip = msgspec.structs.replace(trip(world), salt="of another rollout")
    world.seconds(3)
    assert world.status().phase == "STEP"


def test_a_controller_that_was_away_hears_of_the_breaker_from_the_next_report(world):
    start(world)
    world.trip = trip(world)
    world.restart_controller()
    world.until("ROLLED_BACK", at_most_s=30)
    assert world.status().explanation.guard == "breaker"


def test_a_late_report_still_tells_of_a_breaker(world):
    start(world)
    world.trip = trip(world)
    assert not world.controller.report(world._report(int(world.clock.monotonic_s()) - 20)), "its counts come too late"
    assert world.status().phase == "ROLLING_BACK"


# ---- the split --------------------------------------------------------------------------------------------------


def test_customers_that_do_not_arrive_by_the_weights_hold_the_rollout(world):
    world.realised_bp = 1_000
    start(world, phase="HOLD", min_dwell_s=50)
    status = world.status()
    assert status.explanation.guard == "split"
    assert "the weight is 20 %" in status.message
    assert status.actual_weight_bp == 2_000
    assert status.evidence.split_log_e >= status.evidence.split_threshold


def test_once_the_split_is_right_again_the_operator_resumes_and_it_goes_on(world):
    world.realised_bp = 1_000
    start(world, phase="HOLD", min_dwell_s=20)
    world.realised_bp = None
    world.controller.command(RolloutCommand("churn", "resume"))
    assert world.status().explanation is None
    world.until("PROMOTED", at_most_s=200)


def test_a_right_split_passes_with_its_customers_counted(world):
    start(world)
    world.seconds(4)
    evidence = world.status().evidence
    assert evidence.canary_customers / (evidence.canary_customers + evidence.stable_customers) == pytest.approx(
        0.2, abs=0.1
    )
    world.until("PROMOTED", at_most_s=200)


# ---- drift ------------------------------------------------------------------------------------------------------


def test_other_predictions_are_nobodys_business_unless_asked_for(world):
    world.mean_score["3.2"] = 0.6
    start(world)
    world.until("PROMOTED", at_most_s=200)


def test_other_predictions_roll_back_if_asked_for(world):
    world.mean_score["3.2"] = 0.6
    start(world, guards=("latency", "errors", "predictions"), min_dwell_s=30)
    world.until("ROLLED_BACK")
    assert world.status().explanation.guard == "predictions"
    assert world.status().explanation.log_e >= 0.25


# ---- shadow -----------------------------------------------------------------------------------------------------


def test_a_shadowed_canary_has_no_weight_and_passes_on_copies(world):
    start(world, phase="SHADOW", shadow_s=5)
    route = world.controller.table.endpoints[0]
    assert (route.mirror_bp, world.weights()["3.2"]) == (2_000, 0)
    waited_s = world.until("STEP")
    assert waited_s >= 5
    assert world.controller.table.endpoints[0].mirror_bp == 0
    assert world.status().canary_requests == 0, "the step counts its own requests"
    world.until("PROMOTED", at_most_s=200)


@pytest.mark.parametrize("change", ["slow", "failing"])
def test_what_is_wrong_in_the_shadow_never_meets_a_caller(world, change):
    if change == "slow":
        world.latency_s["3.2"] = 0.02
    else:
        world.error_rate["3.2"] = 0.2
    start(world, phase="SHADOW", shadow_s=30)
    seen = set()
    while world.status().phase != "ROLLED_BACK":
        seen.add(world.weights().get("3.2", 0))
        world.second()
    assert seen == {0}
    assert world.status().explanation.guard in {"latency", "errors"}


def test_a_shadow_without_traffic_passes_nothing(world):
    start(world, phase="SHADOW", shadow_s=5)
    world.rps = 0
    world.until("HOLD", at_most_s=100)
    assert world.status().explanation.guard == "undecided"


def test_a_shadow_goes_on_after_the_controller_was_killed(world):
    start(world, phase="SHADOW", shadow_s=20)
    world.seconds(5)
    world.restart_controller()
    world.seconds(2)
    assert world.status().phase == "SHADOW"
    assert world.controller.table.endpoints[0].mirror_bp == 2_000
    world.until("STEP")


# ---- the salt ---------------------------------------------------------------------------------------------------


def test_the_salt_is_the_best_of_those_tried_before_the_first_step(world):
    base = f"salt-{1}"
    rows = [(200, 100, 20, 2) + (900, 400, 30, 2) * 2] * salts.CANDIDATES  # Alike at the first step, not later.
    rows[17] = (190, 90, 20, 2, 500, 250, 50, 5, 970, 485, 97, 10)
    world.salt_scores = SaltScores(base, (1_000, 500, 100, 10), (1_000, 500, 100, 10), tuple(rows))
    world.silent = {"3.2"}
    world.controller.start_rollout(spec("3.2"))
    world.seconds(3)
    route = world.controller.table.endpoints[0]
    assert (route.salt, route.trial_bp) == (base, (2_000, 5_000, 9_700))
    world.silent = set()
    world.until("STEP")
    route = world.controller.table.endpoints[0]
    assert (route.salt, route.trial_bp) == (salts.candidate(base, 17), ())
    world.restart_controller()
    world.seconds(3)
    assert world.controller.table.endpoints[0].salt == salts.candidate(base, 17)
    world.until("STEP", index=1)
    assert world.controller.table.endpoints[0].salt == salts.candidate(base, 17)


def test_scores_of_another_base_choose_nothing(world):
    rows = ((500, 400, 300, 200),) * 5 + ((200, 100, 20, 2),) * 59
    world.salt_scores = SaltScores("another", (1_000, 500, 100, 10), (1_000, 500, 100, 10), rows)
    start(world)
    assert world.controller.table.endpoints[0].salt == "salt-1"


# ---- undecided, and nothing to compare with -----------------------------------------------------------------------


@pytest.mark.parametrize(("choice", "phase"), [("hold", "HOLD"), ("rollback", "ROLLED_BACK")])
def test_what_follows_too_little_traffic_can_be_chosen(world, choice, phase):
    start(world, on_inconclusive=choice)
    world.rps = 4
    world.until(phase, at_most_s=150)
    assert world.status().explanation.guard == "undecided"


@pytest.mark.parametrize(("choice", "phase"), [("hold", "HOLD"), ("rollback", "ROLLED_BACK")])
def test_a_canary_that_has_lost_a_replica_for_good_is_not_waited_for_either(world, choice, phase):
    start(world, on_inconclusive=choice)
    world.lost_replicas["3.2"] = 1
    world.until(phase, at_most_s=150)
    assert world.status().explanation.guard == "undecided"
    assert "the canary had 1 of 2 replicas" in world.status().explanation.text


def test_without_a_holdback_the_canary_is_compared_with_what_stable_did_last(world):
    start(world, phase="BAKE", holdback_bp=0, bake_s=60)
    world.seconds(35)
    assert world.weights() == {"3.1": 0, "3.2": FULL_BP}
    status = world.status()
    assert status.evidence.is_frozen
    assert status.evidence.latency_log_e < status.evidence.threshold / 2
    world.latency_s["3.2"] = 0.02
    world.until("ROLLED_BACK")
    assert world.status().explanation.guard == "latency"
    assert "weaker evidence" in world.status().explanation.text


def test_without_a_holdback_errors_are_found_too(world):
    start(world, phase="BAKE", holdback_bp=0, bake_s=60, guards=("errors",))
    world.seconds(5)
    world.error_rate["3.2"] = 0.1
    world.until("ROLLED_BACK")
    assert world.status().explanation.guard == "errors"


def test_without_a_holdback_a_good_canary_is_promoted(world):
    start(world, phase="BAKE", holdback_bp=0, bake_s=40)
    world.until("PROMOTED")
