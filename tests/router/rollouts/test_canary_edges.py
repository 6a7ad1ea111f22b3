"""A rollout at the exact end of each of its times and at the edges of its weights; constants that the docs name."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import pytest

from divisions.control import FULL_BP
from router.rollouts import canary, verdict
from router.rollouts.canary import (
    ACKNOWLEDGE_S,
    NO_REPLICAS_S,
    Abort,
    Baking,
    Capacity,
    Draining,
    Held,
    Pause,
    Phase,
    Policy,
    Promote,
    Promoted,
    Resume,
    RolledBack,
    RollingBack,
    SetWeights,
    Shadowing,
    StartReplicas,
    Stepping,
    StopReplicas,
    Timer,
    Warming,
)
from router.rollouts.weights import MAX_MIRROR_BP
from tests.router.rollouts.canary_steps import ANALYSIS, FULL, NONE, POLICY, passing, tick

SHADOWED = msgspec.structs.replace(POLICY, analysis=msgspec.structs.replace(ANALYSIS, shadow_s=0.5))
DOCS = " ".join((Path(__file__).parents[3] / "docs" / "rollouts.md").read_text().split())


def phase_after(state, event, policy=POLICY) -> Phase:
    return canary.phase(canary.advance(state, event, policy)[0])


@pytest.mark.parametrize(("before_s", "phase"), [(13.9, Phase.WARMING), (14.0, Phase.ROLLING_BACK)])
def test_a_deployment_has_exactly_its_time_to_become_warm(before_s, phase):
    state = Warming(Timer(100.0, before_s))
    assert phase_after(state, tick(101.0, canary=Capacity(1, 2))) is phase
    after, _ = canary.advance(Warming(Timer(100.0, 14.0)), tick(101.0, canary=Capacity(1, 2)), POLICY)
    assert after.reason == "deploy: 1 of 2 replicas were warm 15 s after they were started"


def test_a_warm_canary_waits_for_one_replica_of_stable():
    state = Warming(Timer(0.0))
    assert phase_after(state, tick(1.0, stable=NONE)) is Phase.WARMING
    assert phase_after(state, tick(1.0, stable=Capacity(1, 2))) is Phase.STEP


@pytest.mark.parametrize(("shadow_s", "phase"), [(0.0, Phase.STEP), (0.5, Phase.SHADOW), (1.0, Phase.SHADOW)])
def test_there_is_a_shadow_if_it_has_any_time(shadow_s, phase):
    policy = msgspec.structs.replace(POLICY, analysis=msgspec.structs.replace(ANALYSIS, shadow_s=shadow_s))
    assert phase_after(Warming(Timer(0.0)), tick(1.0), policy) is phase


@pytest.mark.parametrize("state", [Stepping(0, Timer(0.0)), Baking(Timer(0.0)), Shadowing(Timer(0.0))])
@pytest.mark.parametrize("is_held", [False, True])
@pytest.mark.parametrize(("starved_s", "is_over"), [(NO_REPLICAS_S - 1.1, False), (NO_REPLICAS_S - 1.0, True)])
def test_a_canary_without_replicas_for_ten_seconds_has_failed(state, is_held, starved_s, is_over):
    starved = msgspec.structs.replace(state, starved_s=starved_s)
    event = tick(1.0, canary=NONE)
    after, _ = canary.advance(Held(starved, "paused") if is_held else starved, event, POLICY)
    assert isinstance(after, RollingBack) is is_over
    if is_over:
        assert after.reason == "replicas: none of the canary's was ready for 10 s"


def test_one_ready_replica_ends_the_time_without_any():
    after, _ = canary.advance(Stepping(0, Timer(0.0), starved_s=9.5), tick(1.0, canary=Capacity(1, 2)), POLICY)
    assert after.starved_s == 0.0
    assert after.timer == Timer(1.0, 1.0)


@pytest.mark.parametrize(("elapsed_s", "phase"), [(3.9, Phase.ROLLING_BACK), (4.0, Phase.DRAINING)])
def test_gateways_have_five_seconds_to_report_the_new_table(elapsed_s, phase):
    assert ACKNOWLEDGE_S == 5.0
    state = RollingBack("why", 0, Timer(0.0, elapsed_s))
    assert phase_after(state, tick(1.0)) is phase
    assert phase_after(state, tick(1.0, is_acknowledged=True)) is Phase.DRAINING


@pytest.mark.parametrize(("elapsed_s", "commands"), [(0.9, ()), (1.0, (StopReplicas(canary.Role.CANARY),))])
def test_replicas_stop_exactly_after_the_drain(elapsed_s, commands):
    after, found = canary.advance(Draining("why", Timer(0.0, elapsed_s)), tick(1.0), POLICY)
    assert found == commands
    assert isinstance(after, RolledBack) is bool(commands)
    assert after.reason == "why"


def test_a_weight_that_waits_for_stable_moves_when_one_replica_is_ready():
    state = RollingBack("why", 2_000, Timer(0.0, 99.0))
    after, commands = canary.advance(state, tick(1.0, stable=NONE, is_acknowledged=True), POLICY)
    assert (after.canary_bp, commands) == (2_000, ())
    after, commands = canary.advance(state, tick(1.0, stable=Capacity(1, 2)), POLICY)
    assert (after.canary_bp, commands) == (0, (SetWeights(FULL_BP, 0),))
    assert after.timer == Timer(1.0), "gateways have their five seconds from here on"


@pytest.mark.parametrize("state", [Warming(Timer(0.0)), Shadowing(Timer(0.0)), Stepping(1, Timer(0.0))])
def test_without_stable_replicas_only_a_weight_must_wait(state):
    after, commands = canary.advance(state, Abort(1.0, stable=NONE), POLICY)
    has_weight = isinstance(state, Stepping)
    assert after.canary_bp == (5_000 if has_weight else 0)
    assert commands == ((StartReplicas(canary.Role.STABLE),) if has_weight else (SetWeights(FULL_BP, 0),))


def test_without_a_stable_version_nothing_is_set_or_retired():
    policy = msgspec.structs.replace(POLICY, has_stable=False)
    after, commands = canary.advance(Warming(Timer(0.0)), Abort(1.0), policy)
    assert (after.canary_bp, commands) == (0, ())
    after, commands = canary.advance(Warming(Timer(0.0)), tick(1.0), policy)
    assert (after, commands) == (Promoted(), (SetWeights(0, FULL_BP),))


@pytest.mark.parametrize(("elapsed_s", "phase"), [(17.9, Phase.STEP), (19.0, Phase.HOLD)])
@pytest.mark.parametrize(("stable", "why"), [
    (Capacity(1, 2), "stable had 1 of 2 replicas"),
    (FULL, "the canary had 1 of 2 replicas"),
])  # fmt: skip
def test_a_pass_without_capacity_is_undecided_after_the_longest_dwell(elapsed_s, phase, stable, why):
    canarys = FULL if stable is not FULL else Capacity(1, 2)
    event = tick(1.0, passing(0), stable=stable, canary=canarys)
    after, _ = canary.advance(Stepping(0, Timer(0.0, elapsed_s)), event, POLICY)
    assert canary.phase(after) is phase
    if phase is Phase.HOLD:
        assert after.reason == f"undecided: after 20 s {why}"


def test_a_pass_goes_exactly_one_step_further():
    weights = []
    state = Stepping(0, Timer(0.0))
    for index in (0, 1):
        state, ((command),) = canary.advance(state, tick(1.0, passing(index)), POLICY)
        weights.append((command.stable_bp, command.canary_bp))
    assert weights == [(5_000, 5_000), (300, 9_700)]
    assert isinstance(state, Baking)


def test_after_the_shadow_comes_the_first_step():
    shadow = passing(canary.SHADOW_STEP)
    after, commands = canary.advance(Shadowing(Timer(0.0)), tick(1.0, shadow), SHADOWED)
    assert (after.index, commands) == (0, (SetWeights(8_000, 2_000),))


@pytest.mark.parametrize(("holdback_bp", "steps_bp", "kept_bp"), [
    (300, (2_000, 10_000), 300), (0, (2_000, 10_000), 0), (5_000, (2_000, 8_000, 10_000), 2_000),
    (5_000, (2_000, 5_000, 10_000), 5_000), (300, (10_000,), 300),
])  # fmt: skip
def test_a_holdback_never_lowers_the_canarys_weight(holdback_bp, steps_bp, kept_bp):
    policy = Policy(steps_bp, msgspec.structs.replace(ANALYSIS, holdback_bp=holdback_bp))
    assert canary.holdback_bp(policy) == kept_bp
    assert canary.canary_bp(Baking(Timer(0.0)), policy) == FULL_BP - kept_bp
    assert canary.weights_bp(policy) == tuple(min(step, FULL_BP - kept_bp) for step in steps_bp)


def test_the_weight_of_each_state():
    step, baking = Stepping(1, Timer(0.0)), Baking(Timer(0.0))
    states = [canary.start(0.0), Warming(Timer(0.0)), Shadowing(Timer(0.0)), step, baking, Held(step, ""), Promoted()]
    assert [canary.canary_bp(state, POLICY) for state in states] == [0, 0, 0, 5_000, 9_700, 5_000, FULL_BP]
    ends = [RollingBack("", 700, Timer(0.0)), Draining("", Timer(0.0)), RolledBack("")]
    assert [canary.canary_bp(state, POLICY) for state in ends] == [700, 0, 0]
    assert [canary.mirror_bp(state, POLICY) for state in states] == [0, 0, 2_000, 0, 0, 0, 0]
    assert canary.mirror_bp(Held(Shadowing(Timer(0.0)), ""), POLICY) == 2_000


@pytest.mark.parametrize(
    "inner", [Warming(Timer(0.0, 9.0)), Stepping(1, Timer(0.0, 9.0), 5.0), Baking(Timer(0.0, 9.0), 5.0)]
)
def test_a_resumed_rollout_has_its_time_anew(inner):
    held, _ = canary.advance(inner, Pause(3.0, who="me"), POLICY)
    assert held == Held(inner, "paused by me")
    resumed, commands = canary.advance(held, Resume(50.0), POLICY)
    assert (resumed.timer, commands) == (Timer(50.0), ())
    assert getattr(resumed, "starved_s", 0.0) == 0.0
    assert type(resumed) is type(inner)


@pytest.mark.parametrize("state", [Stepping(0, Timer(0.0)), Baking(Timer(0.0)), Held(Stepping(0, Timer(0.0)), "")])
def test_the_operator_promotes_what_has_a_ready_replica(state):
    after, commands = canary.advance(state, Promote(1.0, canary=Capacity(1, 2)), POLICY)
    assert after == Promoted()
    assert commands == (SetWeights(0, FULL_BP), canary.RetireReplicas(canary.Role.STABLE, ANALYSIS.keep_stable_s))
    with pytest.raises(canary.IllegalEventError, match="cannot promote a rollout that is"):
        canary.advance(state, Promote(1.0, canary=NONE), POLICY)


def test_a_hold_by_a_guard_is_not_judged_again():
    state = Held(Stepping(0, Timer(0.0)), "latency: slow", by_guard=True)
    assert canary.advance(state, tick(50.0, canary=NONE), POLICY) == (state, ())


def test_the_constants_are_those_of_the_documentation():
    assert int(re.search(r"at most (\d+) %, single rows", DOCS)[1]) * 100 == MAX_MIRROR_BP
    holds, fails = re.search(r"\(([\d.]+) holds, ([\d.]+) rolls back\)", DOCS).groups()
    assert (float(holds), float(fails)) == (verdict.PREDICTION_DRIFT_HOLDS, verdict.PREDICTION_DRIFT_FAILS)
    assert float(re.search(r"corrected index of ([\d.]+) holds", DOCS)[1]) == verdict.INPUT_DRIFT_HOLDS
    evidence = int(re.search(r"holds the rollout at E = ([\d,]+)", DOCS)[1].replace(",", ""))
    assert math.log(evidence) == verdict.SAMPLE_RATIO_LN_E
