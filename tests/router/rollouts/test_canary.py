"""The rollout state machine: what each event changes."""

import math

import msgspec
import pytest

from divisions.control import FULL_BP
from router.rollouts import canary
from router.rollouts.canary import (
    Capacity,
    Judgement,
    Pause,
    Phase,
    Policy,
    RetireReplicas,
    Role,
    SetWeights,
    StartReplicas,
    StopReplicas,
    Timer,
)
from tests.router.rollouts.canary_steps import (
    ANALYSIS,
    LATENCY_THRESHOLD,
    NONE,
    POLICY,
    SHADOWED,
    at_step,
    passing,
    tick,
)


def test_replicas_are_started_before_anything_else():
    state, commands = canary.advance(canary.start(0.0), tick(0.0), POLICY)
    assert canary.phase(state) is Phase.WARMING
    assert commands == (StartReplicas(Role.CANARY),)


def test_the_first_weight_is_set_when_all_replicas_are_warm():
    warming = canary.Warming(Timer(0.0))
    assert canary.advance(warming, tick(1.0, canary=Capacity(1, 2)), POLICY)[1] == ()
    state, commands = canary.advance(warming, tick(1.0), POLICY)
    assert state == canary.Stepping(0, Timer(1.0))
    assert commands == (SetWeights(8_000, 2_000),)


def test_a_pass_moves_to_the_next_step_and_at_last_to_baking():
    assert canary.advance(at_step(0), tick(1.0, passing(0)), POLICY)[1] == (SetWeights(5_000, 5_000),)
    state, commands = canary.advance(at_step(1), tick(1.0, passing(1)), POLICY)
    assert canary.phase(state) is Phase.BAKE
    assert commands == (SetWeights(300, 9_700),)


def test_a_baked_canary_is_promoted_and_the_old_version_retires():
    state, commands = canary.advance(canary.Baking(Timer(0.0)), tick(1.0, passing(2)), POLICY)
    assert canary.phase(state) is Phase.PROMOTED
    assert commands == (SetWeights(0, FULL_BP), RetireReplicas(Role.STABLE, ANALYSIS.keep_stable_s))


@pytest.mark.parametrize(
    "change",
    [
        {"is_fresh": False},
        {"step_requests": 9},
        {"step_s": 2.9},
        {"step_index": 1},
        {"latency_ln_e": LATENCY_THRESHOLD / 2},
        {"error_ln_e": -math.log(ANALYSIS.error_alpha) / 2},
        {"latency_ln_e": math.nan},
        {"error_ln_e": math.nan},
        {"step_s": math.nan},
    ],
)
def test_what_falls_short_of_a_pass_changes_nothing(change):
    state, commands = canary.advance(at_step(), tick(1.0, msgspec.structs.replace(passing(0), **change)), POLICY)
    assert canary.phase(state) is Phase.STEP
    assert canary.canary_bp(state, POLICY) == 2_000
    assert commands == ()


@pytest.mark.parametrize("role", ["stable", "canary"])
def test_a_version_short_of_replicas_does_not_pass(role):
    _, commands = canary.advance(at_step(), tick(1.0, passing(0), **{role: Capacity(1, 2)}), POLICY)
    assert commands == ()


@pytest.mark.parametrize("state", [at_step(0), at_step(1), canary.Baking(Timer(0.0))])
@pytest.mark.parametrize("judgement", [Judgement(latency_ln_e=4.7), Judgement(error_ln_e=5.4)])
def test_a_guard_that_fires_sets_the_weight_to_zero_in_the_same_transition(state, judgement):
    after, commands = canary.advance(state, tick(1.0, judgement), POLICY)
    assert canary.phase(after) is Phase.ROLLING_BACK
    assert commands == (SetWeights(FULL_BP, 0),)


def test_a_guard_fires_on_stale_data_too():
    assert not Judgement(latency_ln_e=5.0).is_fresh
    after, _ = canary.advance(at_step(), tick(1.0, Judgement(latency_ln_e=5.0)), POLICY)
    assert canary.phase(after) is Phase.ROLLING_BACK


def test_a_paused_rollout_rolls_back_when_a_guard_fires():
    held, _ = canary.advance(at_step(), Pause(1.0), POLICY)
    after, commands = canary.advance(held, tick(2.0, Judgement(latency_ln_e=5.0)), POLICY)
    assert canary.phase(after) is Phase.ROLLING_BACK
    assert commands == (SetWeights(FULL_BP, 0),)


def test_under_the_hold_policy_a_failure_holds_at_the_same_weight():
    policy = msgspec.structs.replace(POLICY, holds_on_failure=True)
    held, commands = canary.advance(at_step(1), tick(1.0, Judgement(latency_ln_e=5.0)), policy)
    assert canary.phase(held) is Phase.HOLD
    assert canary.canary_bp(held, policy) == 5_000
    assert commands == ()
    assert canary.advance(held, tick(2.0, Judgement(latency_ln_e=9.0)), policy) == (held, ())


def test_undecided_after_the_longest_dwell_is_a_hold_and_not_a_verdict():
    state = at_step()
    for second in range(1, 30):
        state, commands = canary.advance(state, tick(float(second)), POLICY)
        assert commands == ()
    assert canary.phase(state) is Phase.HOLD
    assert "undecided" in state.reason


@pytest.mark.parametrize(("choice", "phase"), [("hold", Phase.HOLD), ("rollback", Phase.ROLLING_BACK)])
@pytest.mark.parametrize("role", ["stable", "canary"])
@pytest.mark.parametrize("begun", [at_step(0), canary.Baking(Timer(0.0)), canary.Shadowing(Timer(0.0))])
def test_a_version_that_stays_short_of_replicas_is_undecided_and_not_waited_for(begun, role, choice, phase):
    policy = msgspec.structs.replace(POLICY, analysis=msgspec.structs.replace(ANALYSIS, on_inconclusive=choice))
    state, second = begun, 0
    while canary.phase(state) is canary.phase(begun):
        second += 1
        judged = passing(canary.judged_step(state, policy))
        state, _ = canary.advance(state, tick(float(second), judged, **{role: Capacity(1, 2)}), policy)
    assert (canary.phase(state), second) == (phase, ANALYSIS.max_dwell_s)
    name = {"stable": "stable", "canary": "the canary"}[role]
    assert state.reason == f"undecided: after 20 s {name} had 1 of 2 replicas"


def test_a_replica_that_comes_back_in_the_last_moment_lets_the_step_pass():
    late = canary.Stepping(0, Timer(0.0, elapsed_s=30.0))
    assert canary.advance(late, tick(1.0, passing(0)), POLICY)[1] == (SetWeights(5_000, 5_000),)


def test_without_stable_replicas_a_rollback_starts_them_first_and_moves_the_weight_last():
    event = tick(1.0, Judgement(latency_ln_e=5.0), stable=NONE)
    state, commands = canary.advance(at_step(1), event, POLICY)
    assert commands == (StartReplicas(Role.STABLE),)
    assert canary.canary_bp(state, POLICY) == 5_000
    state, commands = canary.advance(state, tick(2.0, stable=NONE), POLICY)
    assert commands == ()
    state, commands = canary.advance(state, tick(3.0, stable=Capacity(1, 2)), POLICY)
    assert commands == (SetWeights(FULL_BP, 0),)
    assert canary.canary_bp(state, POLICY) == 0


def test_a_rollback_drains_before_replicas_stop():
    state = canary.RollingBack("slow", 0, Timer(0.0))
    state, commands = canary.advance(state, tick(1.0, is_acknowledged=True), POLICY)
    assert (canary.phase(state), commands) == (Phase.DRAINING, ())
    state, commands = canary.advance(state, tick(2.0), POLICY)
    assert (canary.phase(state), commands) == (Phase.DRAINING, ())
    state, commands = canary.advance(state, tick(3.0), POLICY)
    assert (canary.phase(state), commands) == (Phase.ROLLED_BACK, (StopReplicas(Role.CANARY),))


def test_a_gateway_that_is_gone_does_not_hold_up_a_rollback():
    state = canary.RollingBack("slow", 0, Timer(0.0))
    for second in range(1, 7):
        state, _ = canary.advance(state, tick(float(second)), POLICY)
    assert canary.phase(state) is Phase.DRAINING


@pytest.mark.parametrize(
    "policy", [Policy((FULL_BP,), ANALYSIS, has_stable=False), Policy((FULL_BP,), ANALYSIS, is_direct=True)]
)
def test_a_direct_rollout_takes_all_traffic_when_warm(policy):
    state, commands = canary.advance(canary.Warming(Timer(0.0)), tick(1.0), policy)
    assert canary.phase(state) is Phase.PROMOTED
    assert commands[0] == SetWeights(0, FULL_BP)


def test_a_clock_that_jumps_ends_no_deadline():
    warming = canary.Warming(Timer(0.0))
    state, _ = canary.advance(warming, tick(1e9, canary=NONE), POLICY)
    assert canary.phase(state) is Phase.WARMING
    state, _ = canary.advance(state, tick(-1e9, canary=NONE), POLICY)
    assert canary.phase(state) is Phase.WARMING


JUDGED = [at_step(0), at_step(1), canary.Baking(Timer(0.0)), canary.Shadowing(Timer(0.0))]


@pytest.mark.parametrize("state", [*JUDGED, canary.Held(at_step(), "paused")])
def test_a_breaker_that_trips_sets_the_weight_to_zero_in_the_same_transition(state):
    after, commands = canary.advance(state, tick(1.0, Judgement(is_tripped=True)), POLICY)
    assert canary.phase(after) is Phase.ROLLING_BACK
    assert commands == (SetWeights(FULL_BP, 0),)
    assert after.reason.startswith("breaker:")


@pytest.mark.parametrize("state", JUDGED)
@pytest.mark.parametrize(
    ("change", "first_word"), [({"sample_ratio_ln_e": 7.0}, "split:"), ({"input_drift": 0.2}, "inputs:")]
)
def test_a_broken_split_holds_where_it_is_and_blames_nobody(state, change, first_word):
    judgement = msgspec.structs.replace(passing(canary.judged_step(state, POLICY)), **change)
    held, commands = canary.advance(state, tick(1.0, judgement), POLICY)
    assert (held.inner, commands) == (msgspec.structs.replace(state, timer=Timer(1.0, 1.0)), ())
    assert held.reason.startswith(first_word)


@pytest.mark.parametrize(("drift", "phase"), [(0.1, Phase.STEP), (0.21, Phase.HOLD), (0.25, Phase.ROLLING_BACK)])
def test_drift_of_predictions_is_judged_only_if_asked_for(drift, phase):
    asked = msgspec.structs.replace(POLICY, analysis=msgspec.structs.replace(ANALYSIS, guards=("predictions",)))
    judgement = Judgement(prediction_drift=drift)
    assert canary.phase(canary.advance(at_step(), tick(1.0, judgement), asked)[0]) is phase
    assert canary.phase(canary.advance(at_step(), tick(1.0, judgement), POLICY)[0]) is Phase.STEP


def test_a_shadow_comes_before_the_first_weight_and_has_none():
    state, commands = canary.advance(canary.Warming(Timer(0.0)), tick(1.0), SHADOWED)
    assert (canary.phase(state), commands) == (Phase.SHADOW, ())
    assert (canary.canary_bp(state, SHADOWED), canary.mirror_bp(state, SHADOWED)) == (0, 2_000)
    _, commands = canary.advance(state, tick(2.0, passing(0)), SHADOWED)
    assert commands == (), "a judgement of the first step is none of the shadow"
    after, commands = canary.advance(state, tick(2.0, passing(canary.SHADOW_STEP)), SHADOWED)
    assert (after, commands) == (canary.Stepping(0, Timer(2.0)), (SetWeights(8_000, 2_000),))
    assert canary.mirror_bp(after, SHADOWED) == 0


def test_an_undecided_rollout_goes_back_if_the_pipeline_says_so():
    back = msgspec.structs.replace(POLICY, analysis=msgspec.structs.replace(ANALYSIS, on_inconclusive="rollback"))
    state = canary.Stepping(0, Timer(0.0, elapsed_s=20.0))
    after, commands = canary.advance(state, tick(1.0), back)
    assert commands == (SetWeights(FULL_BP, 0),)
    assert after.reason.startswith("undecided:")


@pytest.mark.parametrize(("first_bp", "mirrored_bp"), [(500, 500), (2_000, 2_000), (5_000, 2_000), (FULL_BP, 2_000)])
def test_a_mirror_is_as_wide_as_the_first_step_and_at_most_a_fifth(first_bp, mirrored_bp):
    policy = Policy((first_bp, FULL_BP) if first_bp < FULL_BP else (FULL_BP,), SHADOWED.analysis)
    for state in (canary.Shadowing(Timer(0.0)), canary.Held(canary.Shadowing(Timer(0.0)), "paused")):
        assert canary.mirror_bp(state, policy) == mirrored_bp
    assert canary.mirror_bp(canary.Stepping(0, Timer(0.0)), policy) == 0


@pytest.mark.parametrize(
    ("state", "index"),
    [
        (canary.Pending(Timer(0.0)), 0),
        (canary.Shadowing(Timer(0.0)), 0),
        (at_step(1), 1),
        (canary.Held(at_step(1), "paused"), 1),
        (canary.Baking(Timer(0.0)), 2),
        (canary.Promoted(), 2),
        (canary.RolledBack("slow"), 0),
    ],
)
def test_the_step_of_a_state(state, index):
    assert canary.step_index(state, POLICY) == index


def test_weights_leave_room_for_the_holdback_but_never_fall():
    assert canary.weights_bp(POLICY) == (2_000, 5_000, 9_700)
    narrow = Policy((9_900, FULL_BP), ANALYSIS)
    assert (canary.holdback_bp(narrow), canary.weights_bp(narrow)) == (100, (9_900, 9_900))
    assert canary.holdback_bp(Policy((FULL_BP,), ANALYSIS)) == 300
