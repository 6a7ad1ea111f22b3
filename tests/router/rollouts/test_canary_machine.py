"""The invariants of the rollout state machine under arbitrary events."""

import math

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from divisions.control import FULL_BP
from divisions.errors import IllegalEventError, PolicyRefusedError
from router.rollouts import canary
from router.rollouts.canary import (
    Abort,
    Barred,
    Capacity,
    Judgement,
    Pause,
    Phase,
    Policy,
    Promote,
    Resume,
    Role,
    SetWeights,
    StartReplicas,
    StopReplicas,
    Ticked,
    Timer,
)
from router.rollouts.verdict import is_overdue
from tests.router.rollouts.canary_steps import ANALYSIS, FULL, NONE

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


policies = st.sampled_from(
    [Barred(), Barred(), Barred("", "approvals"), Barred("freeze", "freeze"), Barred("freeze", "")]
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
        barred=policies,
    )
    def tick(self, judgement, stable, ready, gap_s, is_acknowledged, failure, barred):
        self.now_s += gap_s
        stable = stable if self.policy.has_stable else Capacity()
        before_bp, was_direct = self.weights[1], self.policy.is_direct or not self.policy.has_stable
        index = canary.step_index(self.state, self.policy)
        was_baking, was_shadowed = (canary.phase(self.state) is phase for phase in (Phase.BAKE, Phase.SHADOW))
        timer = getattr(self.state, "timer", Timer(0.0))
        was_active = isinstance(self.state, canary.Warming | canary.Shadowing | canary.Stepping | canary.Baking)
        self.apply(Ticked(self.now_s, stable, ready, judgement, is_acknowledged, failure, barred=barred))
        if was_active and barred.promotion:
            assert not isinstance(self.state, canary.Promoted)
        if barred.rise:
            assert self.weights[1] <= before_bp or (not barred.promotion and isinstance(self.state, canary.Promoted))
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
    @rule(ready=capacities, barred=policies, broken=st.sampled_from(["", "", "a fire"]))
    def promote(self, ready, barred, broken):
        before = self.state
        self.try_to(Promote(self.now_s, canary=ready, barred=barred, broken=broken))
        if isinstance(self.state, canary.Promoted) and self.state != before:
            assert broken or not barred.promotion
            assert bool(self.state.note) == bool(barred.promotion)

    @precondition(lambda self: not canary.is_finished(self.state))
    @rule(stable=capacities)
    def abort(self, stable):
        self.try_to(Abort(self.now_s, "no", stable if self.policy.has_stable else Capacity()))

    def try_to(self, event):
        before = self.state
        try:
            self.apply(event)
        except (IllegalEventError, PolicyRefusedError):
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
