"""The rollout state machine: the table of transitions, and its invariants under arbitrary events."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from divisions.control import FULL_BP, AnalysisSpec
from divisions.errors import IllegalEventError
from router.rollouts import canary
from router.rollouts.canary import (
    Abort,
    Capacity,
    Judgement,
    Pause,
    Phase,
    Policy,
    Promote,
    Resume,
    RetireReplicas,
    Role,
    SetWeights,
    StartReplicas,
    StopReplicas,
    Ticked,
    Timer,
)
from router.rollouts.verdict import is_overdue

ANALYSIS = AnalysisSpec(min_dwell_s=3, max_dwell_s=20, min_samples=(10, 20), bake_s=4, deploy_deadline_s=15, drain_s=2)
POLICY = Policy((2_000, 5_000, FULL_BP), ANALYSIS)
FULL = Capacity(2, 2)
NONE = Capacity(0, 2)
LATENCY_THRESHOLD = -math.log(ANALYSIS.alpha)


def passing(index: int) -> Judgement:
    return Judgement(step_index=index, step_requests=1_000, step_s=100.0, is_fresh=True)


SILENCE = Judgement()


def tick(now_s: float, judgement: Judgement = SILENCE, **changes) -> Ticked:
    return msgspec.structs.replace(Ticked(now_s, FULL, FULL, judgement), **changes)


def at_step(index: int = 0) -> canary.State:
    return canary.Stepping(index, Timer(0.0))


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


ILLEGAL = [
    (canary.start(0.0), Promote(1.0, canary=FULL)),
    (canary.start(0.0), Resume(1.0)),
    (canary.Warming(Timer(0.0)), Promote(1.0, canary=FULL)),
    (at_step(), Promote(1.0, canary=NONE)),
    (at_step(), Resume(1.0)),
    (canary.Held(at_step(), "paused"), Pause(1.0)),
    (canary.Held(canary.Warming(Timer(0.0)), "paused"), Promote(1.0, canary=FULL)),
    *[
        (state, event)
        for state in (
            canary.Promoted(),
            canary.RolledBack("slow"),
            canary.RollingBack("slow", 0, Timer(0.0)),
            canary.Draining("slow", Timer(0.0)),
        )
        for event in (Pause(1.0), Resume(1.0), Promote(1.0, canary=FULL), Abort(1.0))
    ],
]


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_what_the_diagram_does_not_know_is_refused_by_name(state, event):
    with pytest.raises(IllegalEventError, match=rf"cannot {type(event).__name__.lower()} .* {canary.phase(state)}"):
        canary.advance(state, event, POLICY)


# ---- the further guards ------------------------------------------------------------------------------------------

SHADOWED = msgspec.structs.replace(POLICY, analysis=msgspec.structs.replace(ANALYSIS, shadow_s=5))
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


def test_the_table_knows_no_way_twice_and_none_out_of_the_end():
    ways = [(each.source, each.cause, each.target) for each in canary.TRANSITIONS]
    assert len(ways) == len(set(ways))
    assert not {each.source for each in canary.TRANSITIONS} & {Phase.PROMOTED, Phase.ROLLED_BACK}


def test_every_way_of_the_table_is_taken():
    """Breadth first over what may happen in each state."""
    events = [
        *[tick(1.0, judgement) for judgement in (SILENCE, *map(passing, (-1, 0, 1, 2)), Judgement(latency_ln_e=9.0))],
        tick(1.0, Judgement(sample_ratio_ln_e=9.0)),
        tick(1.0, canary=NONE, deploy_failure="deploy: no"),
        tick(1.0, stable=NONE, judgement=Judgement(latency_ln_e=9.0)),
        tick(1.0, is_acknowledged=True),
        *[tick(float(second)) for second in range(2, 5)],
        *[event(1.0) for event in (Pause, Resume)],
        Promote(1.0, canary=FULL),
        Abort(1.0, "no", FULL),
    ]
    taken = set()
    for steps in ((2_000, 5_000, FULL_BP), (FULL_BP,)):
        for analysis in (ANALYSIS, SHADOWED.analysis):
            for is_direct in (False, True):
                policy = Policy(steps, analysis, is_direct=is_direct)
                found, queue = set(), [canary.start(0.0)]
                while queue:
                    state = queue.pop()
                    for event in events:
                        try:
                            after, commands = canary.advance(state, event, policy)
                        except IllegalEventError:
                            continue
                        if commands or canary.phase(after) is not canary.phase(state):
                            taken.add((canary.phase(state), canary.phase(after)))
                        inner = getattr(after, "inner", after)
                        weight_bp = canary.canary_bp(after, policy)
                        kind = (canary.phase(after), canary.phase(inner), canary.step_index(after, policy), weight_bp)
                        if kind not in found:
                            found.add(kind)
                            queue.append(after)
    assert taken == {(each.source, each.target) for each in canary.TRANSITIONS}


@given(st.sampled_from([state for state, _ in ILLEGAL]))
def test_states_survive_the_journal(state):
    assert msgspec.json.decode(msgspec.json.encode(state), type=canary.State) == state


judgements = st.builds(
    Judgement,
    latency_ln_e=st.sampled_from([-1.0, 0.0, 2.0, 2.5, 4.0, 4.7, math.nan]),
    error_ln_e=st.sampled_from([0.0, 0.0, 2.0, 3.0, 5.4, math.nan]),
    step_index=st.integers(-1, 2),
    step_requests=st.integers(0, 100),
    step_s=st.floats(0, 100),
    is_fresh=st.booleans(),
    is_tripped=st.sampled_from([False] * 9 + [True]),
    sample_ratio_ln_e=st.sampled_from([0.0, 0.0, 0.0, 3.0, 7.0, math.nan]),
    input_drift=st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.2, math.nan]),
    prediction_drift=st.sampled_from([0.0, 0.0, 0.15, 0.22, 0.3, math.nan]),
)
capacities = st.sampled_from([NONE, Capacity(1, 2), FULL, FULL])


class RolloutMachine(RuleBasedStateMachine):
    """One rollout under arbitrary events; what is routed follows its commands."""

    @initialize(
        steps=st.sampled_from([(2_000, 5_000, FULL_BP), (FULL_BP,), (9_900, FULL_BP), (1, 2, 3, FULL_BP)]),
        has_stable=st.booleans(),
        is_direct=st.booleans(),
        holds=st.booleans(),
        shadow_s=st.sampled_from([0, 0, 5]),
        on_inconclusive=st.sampled_from(["hold", "rollback"]),
        guards=st.sampled_from([("latency", "errors"), ("latency", "errors", "predictions")]),
    )
    def begin(self, steps, has_stable, is_direct, holds, shadow_s, on_inconclusive, guards):
        analysis = msgspec.structs.replace(ANALYSIS, shadow_s=shadow_s, on_inconclusive=on_inconclusive, guards=guards)
        self.policy = Policy(steps, analysis, has_stable, is_direct, holds)
        self.now_s = 0.0
        self.state = canary.start(0.0)
        self.weights = (FULL_BP, 0) if has_stable else (0, 0)
        self.started, self.stopped = set(), set()

    @rule(
        judgement=judgements,
        stable=capacities,
        ready=capacities,
        gap_s=st.sampled_from([-5.0, 0.0, 1.0, 1.0, 1.0, 3.0, 1e6]),
        is_acknowledged=st.booleans(),
        failure=st.sampled_from(["", "", "", "deploy: no"]),
    )
    def tick(self, judgement, stable, ready, gap_s, is_acknowledged, failure):
        self.now_s += gap_s
        stable = stable if self.policy.has_stable else Capacity()
        before_bp, was_direct = self.weights[1], self.policy.is_direct or not self.policy.has_stable
        index = canary.step_index(self.state, self.policy)
        was_baking, was_shadowed = (canary.phase(self.state) is phase for phase in (Phase.BAKE, Phase.SHADOW))
        timer = getattr(self.state, "timer", Timer(0.0))
        self.apply(Ticked(self.now_s, stable, ready, judgement, is_acknowledged, failure))
        if self.weights[1] > before_bp > 0:
            verdict = canary.judge(judgement, timer, index, self.policy, is_baking=was_baking)
            assert verdict is canary.Verdict.PASS
            assert ready.is_full
            assert stable.is_full
        if self.weights[1] > before_bp == 0:
            assert ready.is_full, "the first weight needs all replicas"
            assert stable.ready or was_direct
            assert not self.policy.analysis.shadow_s or was_direct or was_shadowed

    @rule(who=st.sampled_from(["ann", "bob"]))
    def pause(self, who):
        self.try_to(Pause(self.now_s, who))

    @rule()
    def resume(self):
        before = self.weights
        self.try_to(Resume(self.now_s))
        assert self.weights == before

    @precondition(lambda self: canary.phase(self.state) in {Phase.STEP, Phase.BAKE, Phase.HOLD})
    @rule(ready=capacities)
    def promote(self, ready):
        self.try_to(Promote(self.now_s, canary=ready))

    @precondition(lambda self: not canary.is_finished(self.state))
    @rule(stable=capacities)
    def abort(self, stable):
        self.try_to(Abort(self.now_s, "no", stable if self.policy.has_stable else Capacity()))

    def try_to(self, event):
        before = self.state
        try:
            self.apply(event)
        except IllegalEventError:
            assert self.state == before

    def apply(self, event):
        self.state, commands = canary.advance(self.state, event, self.policy)
        for command in commands:
            match command:
                case SetWeights(stable_bp=stable_bp, canary_bp=canary_bp):
                    self.weights = (stable_bp, canary_bp)
                case StartReplicas(role=role):
                    self.started.add(role)
                case StopReplicas(role=role):
                    self.stopped.add(role)

    @invariant()
    def weights_sum_to_all_traffic(self):
        assert sum(self.weights) == FULL_BP or (self.weights == (0, 0) and not self.policy.has_stable)

    @invariant()
    def the_state_knows_the_weight_that_is_routed(self):
        assert canary.canary_bp(self.state, self.policy) == self.weights[1]

    @invariant()
    def rolled_back_means_zero(self):
        if canary.phase(self.state) in {Phase.DRAINING, Phase.ROLLED_BACK}:
            assert self.weights[1] == 0

    @invariant()
    def no_judged_state_lasts_for_ever(self):
        if isinstance(self.state, canary.Shadowing | canary.Stepping | canary.Baking):
            is_baking, index = isinstance(self.state, canary.Baking), canary.judged_step(self.state, self.policy)
            assert not is_overdue(self.state.timer, index, self.policy, is_baking=is_baking)

    @invariant()
    def nobody_is_routed_to_what_was_stopped(self):
        assert Role.CANARY not in self.stopped or self.weights[1] == 0
        assert Role.STABLE not in self.stopped

    @invariant()
    def replay_gives_the_same_state(self):
        assert msgspec.json.decode(msgspec.json.encode(self.state), type=canary.State) == self.state


RolloutMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRollout = RolloutMachine.TestCase


@pytest.mark.parametrize(("first_bp", "mirrored_bp"), [(500, 500), (2_000, 2_000), (5_000, 2_000), (FULL_BP, 2_000)])
def test_a_mirror_is_as_wide_as_the_first_step_and_at_most_a_fifth(first_bp, mirrored_bp):
    policy = Policy((first_bp, FULL_BP) if first_bp < FULL_BP else (FULL_BP,), SHADOWED.analysis)
    for state in (canary.Shadowing(Timer(0.0)), canary.Held(canary.Shadowing(Timer(0.0)), "paused")):
        assert canary.mirror_bp(state, policy) == mirrored_bp
    assert canary.mirror_bp(canary.Stepping(0, Timer(0.0)), policy) == 0


def test_a_way_that_is_not_in_the_table_is_refused(monkeypatch):
    """Also one that leads back into the same phase, if it has commands."""
    same = (canary.Stepping(0, Timer(1.0)), (SetWeights(8_000, 2_000),))
    other = (canary.Draining("slow", Timer(1.0)), ())
    for refused in ((canary.Warming(Timer(1.0)), (StartReplicas(Role.CANARY),)), other):
        monkeypatch.setattr(canary, "_advance", lambda state, event, policy, refused=refused: refused)
        with pytest.raises(IllegalEventError, match="no transition leads from"):
            canary.advance(canary.Warming(Timer(0.0)) if refused is not other else at_step(), tick(1.0), POLICY)
    monkeypatch.setattr(canary, "_advance", lambda state, event, policy: same)
    assert canary.advance(at_step(), tick(1.0), POLICY) == same, "a step leads to a step"


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
