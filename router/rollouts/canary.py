"""The state machine of a rollout: `advance(state, event, policy) -> (state, commands)`. Pure; no I/O, no clock.

::

    PENDING ─tick─> WARMING ─all warm─> (SHADOW ─pass─>) STEP(0) ─pass─> … ─pass─> BAKE ─pass─> PROMOTED
                       │                   │               │                        │
                       │ deadline, or the  │ fail          │ fail                   │ fail
                       │ deployment failed v               v                        v
                       └─────────────> ROLLING_BACK ─acknowledged─> DRAINING ─drained─> ROLLED_BACK

`router.rollouts.transitions` is the whole table, with pauses and commands. `advance` refuses a transition that is not
in it. The diagram in docs/rollouts.md is drawn from it (`python -m router.rollouts.diagram`). `router.rollouts.verdict`
judges the evidence. States, events and commands are defined in `router.rollouts.states`.

Rules, each with its reason:

1. **Only a pass or the operator raises the canary's weight.** A pass needs everything at once: the step's dwell and
   samples, a fresh judgement, every guard below *half* of its threshold, all replicas of both versions ready, and
   those that the next weight needs. Missing, stale or repeated data is not a pass.
2. **A guard fires in every state in which the canary has weight**, HOLD included. Other systems skip the check in one
   state, and leave a bad version there.
3. **A failure sets the weight to zero in the same transition.** Then the rollout waits until gateways have the new
   table, then it drains, then replicas stop. Weight first, replicas last: no request is cut off.
4. **Stable always has capacity for all traffic.** If its replicas are gone when a rollback is due, they start first,
   and the weight moves last.
5. **Unknown is neither good nor bad.** Between half and the full threshold the rollout stays where it is. It also stays
   while a version is short of replicas. After the longest dwell it holds and asks the operator, or rolls back if
   ``on_inconclusive`` says so. It never passes by default, and never waits for ever.
6. **While baking, stable keeps a holdback.** Without it there would be nothing to compare with.
7. **Where a policy bars the way, the rollout stays where it is, and its time stands still.** It goes on by itself when
   the policy allows it. Waiting is no reason to roll back; guards fire as always. No way back asks the policy.
8. **Time is counted from events**, at most `MAX_GAP_S` per event. If the clock jumps, or the controller was
   away, no dwell and no deadline ends too early.

An event that the phase does not allow raises `IllegalEventError`, which names the event and the phase.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from divisions.control import FULL_BP
from divisions.errors import IllegalEventError, PolicyRefusedError
from router.rollouts.states import (
    MAX_GAP_S,
    SHADOW_STEP,
    Abort,
    Active,
    Baking,
    Barred,
    Capacity,
    Command,
    Draining,
    Event,
    Held,
    Judged,
    Judgement,
    Pause,
    Pending,
    Phase,
    Policy,
    Promote,
    Promoted,
    Resume,
    RetireReplicas,
    Role,
    RolledBack,
    RollingBack,
    SetWeights,
    Shadowing,
    StartReplicas,
    State,
    Step,
    Stepping,
    StopReplicas,
    Ticked,
    Timer,
    Warming,
    is_barred,
    is_finished,
    phase,
)
from router.rollouts.transitions import ALLOWED, TRANSITIONS, Transition
from router.rollouts.verdict import Verdict, failure, is_overdue, judge, needed, suspicion
from router.rollouts.weights import (
    canary_bp,
    holdback_bp,
    judged_step,
    mirror_bp,
    next_bp,
    sized_bp,
    step_index,
    weights_bp,
)

__all__ = [
    "MAX_GAP_S",
    "SHADOW_STEP",
    "TRANSITIONS",
    "Abort",
    "Baking",
    "Barred",
    "Capacity",
    "Command",
    "Draining",
    "Event",
    "Held",
    "Judgement",
    "Pause",
    "Pending",
    "Phase",
    "Policy",
    "Promote",
    "Promoted",
    "Resume",
    "RetireReplicas",
    "Role",
    "RolledBack",
    "RollingBack",
    "SetWeights",
    "Shadowing",
    "StartReplicas",
    "State",
    "Stepping",
    "StopReplicas",
    "Ticked",
    "Timer",
    "Transition",
    "Verdict",
    "Warming",
    "advance",
    "canary_bp",
    "has_passed",
    "holdback_bp",
    "is_barred",
    "is_finished",
    "judge",
    "judged_step",
    "mirror_bp",
    "needed",
    "next_bp",
    "phase",
    "sized_bp",
    "start",
    "step_index",
    "weights_bp",
]

ACKNOWLEDGE_S = 5.0
"""How long a rollback waits for gateways to report the new table before it drains. A dead gateway never reports."""
NO_REPLICAS_S = 10.0
"""A canary that has traffic but no ready replica for this long has failed."""


def advance(state: State, event: Event, policy: Policy) -> Step:
    """One transition.

    Returns:
        The new state, and the commands to carry out in order after the state is on disk.

    Raises:
        IllegalEventError: the event cannot happen in this phase.
    """
    after, commands = _advance(state, event, policy)
    transition = (phase(state), phase(after))
    if (transition[0] is not transition[1] or commands) and transition not in ALLOWED:
        raise IllegalEventError(f"no transition leads from {transition[0].value} to {transition[1].value}")
    return after, commands


def _advance(state: State, event: Event, policy: Policy) -> Step:
    match state, event:
        case Pending(), Ticked():
            return Warming(Timer(event.now_s)), (StartReplicas(Role.CANARY),)
        case Warming(), Ticked():
            return _warm(state, event, policy)
        case Shadowing() | Stepping() | Baking(), Ticked():
            return _observe(state, event, policy)
        case Held(), Ticked():
            return _observe_held(state, event, policy)
        case RollingBack(), Ticked():
            return _wait_for_gateways(state, event, policy)
        case Draining(), Ticked():
            return _drain(state, event, policy)
        case Promoted() | RolledBack(), Ticked():
            return state, ()
        case Pending() | Warming() | Shadowing() | Stepping() | Baking(), Pause():
            return Held(state, f"paused by {event.who}"), ()
        case Held(), Resume():
            return _resumed(state.inner, event.now_s), ()
        case ((Stepping() | Baking() | Held(inner=Stepping() | Baking())), Promote()) if event.canary.ready:
            return _promote_early(event, policy)
        case Warming(is_barred=True), Promote() if event.canary.ready and not policy.has_stable:
            return _promote_early(event, policy)
        case Pending() | Warming() | Shadowing() | Stepping() | Baking() | Held(), Abort():
            return _roll_back(state, event.reason, event.stable, event.now_s, policy)
        case _:
            raise IllegalEventError(
                f"cannot {type(event).__name__.lower()} a rollout that is {phase(state).value}",
                remedy=_REMEDIES.get(phase(state), "see `divisions rollout status`"),
            )


_REMEDIES = {
    Phase.PENDING: "its replicas are not warm yet; wait, or abort it",
    Phase.WARMING: "its replicas are not warm yet; wait, or abort it",
    Phase.SHADOW: "it has no traffic yet; wait, or abort it",
    Phase.STEP: "none of its replicas is ready",
    Phase.BAKE: "none of its replicas is ready",
    Phase.HOLD: "none of its replicas is ready, or it has no traffic yet",
    Phase.ROLLING_BACK: "it is on its way back",
    Phase.DRAINING: "it is on its way back",
    Phase.PROMOTED: "it is finished; start a new rollout, or use `divisions rollback`",
    Phase.ROLLED_BACK: "it is finished; start a new rollout",
}


def start(now_s: float) -> State:
    """The first state of every rollout."""
    return Pending(Timer(now_s))


def has_passed(state: State, judgement: Judgement, policy: Policy) -> bool:
    """Whether the evidence of the present step is a pass. The weight may still wait for replicas."""
    if not isinstance(state, Shadowing | Stepping | Baking):
        return False
    index, is_baking = judged_step(state, policy), isinstance(state, Baking)
    return judge(judgement, state.timer, index, policy, is_baking=is_baking) is Verdict.PASS


def _warm(state: Warming, event: Ticked, policy: Policy) -> Step:
    timer = state.timer.moved(event.now_s)
    if event.deploy_failure:
        return _fail(Warming(timer), event.deploy_failure, event, policy)
    if event.canary.is_full:
        is_direct = policy.is_direct or not policy.has_stable
        if event.barred.promotion if is_direct else event.barred.rise and event.stable.ready:
            return Warming(Timer(event.now_s), is_barred=True), ()
        if is_direct:
            return _promote(policy)
        if event.stable.ready:
            return _begin(event.now_s, policy)
    if timer.elapsed_s >= policy.analysis.deploy_deadline_s:
        reason = (
            f"deploy: {event.canary.ready} of {event.canary.wanted} replicas were warm "
            f"{policy.analysis.deploy_deadline_s:g} s after they were started"
            f"{f' ({event.lacks})' if event.lacks else ''}"
        )
        return _fail(Warming(timer), reason, event, policy)
    return Warming(timer), ()


def _observe(state: Judged, event: Ticked, policy: Policy) -> Step:
    state = _timed(state, event)
    if state.starved_s >= NO_REPLICAS_S:
        return _fail(state, _STARVED, event, policy)
    index, is_baking = judged_step(state, policy), isinstance(state, Baking)
    barred = event.barred.promotion if is_baking else event.barred.rise
    if state.is_barred:  # its time begins again, so that waiting ends no step
        state = msgspec.structs.replace(state, timer=Timer(event.now_s), is_barred=bool(barred))
    match judge(event.judgement, state.timer, index, policy, is_baking=is_baking):
        case Verdict.FAIL:
            return _fail(state, failure(event.judgement, policy), event, policy)
        case Verdict.HOLD:
            return Held(state, suspicion(event.judgement, policy)), ()
        case Verdict.PASS if _has_capacity(event) and barred:
            return msgspec.structs.replace(state, timer=Timer(event.now_s), is_barred=True), ()
        case Verdict.PASS if _has_capacity(event):
            return _promote(policy) if is_baking else _enter_step(index + 1, event.now_s, policy)
        case Verdict.PASS if is_overdue(state.timer, index, policy, is_baking=is_baking):
            return _undecided(state, _short_of_replicas(event), event, policy)
        case Verdict.PASS | Verdict.WAIT:
            return state, ()
        case Verdict.INCONCLUSIVE:
            return _undecided(state, "there was too little traffic or evidence", event, policy)


def _has_capacity(event: Ticked) -> bool:
    """Capacity first, weight after: also what the next weight needs is there."""
    return event.canary.is_full and event.stable.is_full and event.canary.ready >= event.next_replicas


def _short_of_replicas(event: Ticked) -> str:
    """Different capacity causes different latency. So a version that lacks replicas does not pass, however good it
    looks."""
    arms = (("stable", event.stable), ("the canary", event.canary))
    short = [f"{name} had {arm.ready} of {arm.wanted} replicas" for name, arm in arms if not arm.is_full]
    if not short:
        short = [f"the canary had {event.canary.ready} of the {event.next_replicas} replicas that the next step needs"]
    return " and ".join(short) + (f" ({event.lacks})" if event.lacks else "")


def _undecided(state: Judged, why: str, event: Ticked, policy: Policy) -> Step:
    reason = f"undecided: after {state.timer.elapsed_s:.0f} s {why}"
    if policy.analysis.on_inconclusive == "rollback":
        return _fail(state, reason, event, policy)
    return Held(state, reason), ()


def _observe_held(state: Held, event: Ticked, policy: Policy) -> Step:
    if state.by_guard or not isinstance(state.inner, Shadowing | Stepping | Baking):
        return state, ()
    inner = _timed(state.inner, event)
    if inner.starved_s >= NO_REPLICAS_S:
        return _fail(inner, _STARVED, event, policy)
    failed = failure(event.judgement, policy)
    if failed:
        return _fail(inner, failed, event, policy)
    return msgspec.structs.replace(state, inner=inner), ()


_STARVED = f"replicas: none of the canary's was ready for {NO_REPLICAS_S:g} s"


def _timed(state: Judged, event: Ticked) -> Judged:
    starved_s = 0.0 if event.canary.ready else state.starved_s + state.timer.gap_s(event.now_s)
    return msgspec.structs.replace(state, timer=state.timer.moved(event.now_s), starved_s=starved_s)


def _fail(state: Active, reason: str, event: Ticked, policy: Policy) -> Step:
    if policy.holds_on_failure and isinstance(state, Shadowing | Stepping | Baking):
        return Held(state, reason, by_guard=True), ()
    return _roll_back(state, reason, event.stable, event.now_s, policy)


def _begin(now_s: float, policy: Policy) -> Step:
    return (Shadowing(Timer(now_s)), ()) if policy.analysis.shadow_s > 0 else _enter_step(0, now_s, policy)


def _enter_step(index: int, now_s: float, policy: Policy) -> Step:
    weight_bp = policy.steps_bp[index]
    if weight_bp >= FULL_BP:
        stable_bp = holdback_bp(policy)
        return Baking(Timer(now_s)), (SetWeights(stable_bp, FULL_BP - stable_bp),)
    return Stepping(index, Timer(now_s)), (SetWeights(FULL_BP - weight_bp, weight_bp),)


def _resumed(inner: Active, now_s: float) -> State:
    """After a resume the timer restarts at 0. The evidence is kept."""
    match inner:
        case Pending() | Warming():
            return msgspec.structs.replace(inner, timer=Timer(now_s))
        case Shadowing() | Stepping() | Baking():
            return msgspec.structs.replace(inner, timer=Timer(now_s), starved_s=0.0)
        case _:
            assert_never(inner)


def _promote_early(event: Promote, policy: Policy) -> Step:
    if not event.barred.promotion:
        return _promote(policy)
    if not event.broken:
        raise PolicyRefusedError(f"the policy does not let it be promoted: {event.barred.promotion}")
    return _promote(policy, f"{event.who} broke the glass: {event.broken} (not met: {event.barred.promotion})")


def _promote(policy: Policy, note: str = "") -> Step:
    commands: tuple[Command, ...] = (SetWeights(0, FULL_BP),)
    if policy.has_stable:
        commands += (RetireReplicas(Role.STABLE, policy.analysis.keep_stable_s),)
    return Promoted(note), commands


def _roll_back(state: State, reason: str, stable: Capacity, now_s: float, policy: Policy) -> Step:
    weight_bp = canary_bp(state, policy)
    if not policy.has_stable:
        return RollingBack(reason, 0, Timer(now_s)), ()
    if weight_bp and not stable.ready:
        return RollingBack(reason, weight_bp, Timer(now_s)), (StartReplicas(Role.STABLE),)
    return RollingBack(reason, 0, Timer(now_s)), (SetWeights(FULL_BP, 0),)


def _wait_for_gateways(state: RollingBack, event: Ticked, policy: Policy) -> Step:
    timer = state.timer.moved(event.now_s)
    if state.canary_bp and not event.stable.ready:
        return msgspec.structs.replace(state, timer=timer), ()
    if state.canary_bp:
        return RollingBack(state.reason, 0, Timer(event.now_s)), (SetWeights(FULL_BP, 0),)
    if event.is_acknowledged or timer.elapsed_s >= ACKNOWLEDGE_S:
        return Draining(state.reason, Timer(event.now_s)), ()
    return msgspec.structs.replace(state, timer=timer), ()


def _drain(state: Draining, event: Ticked, policy: Policy) -> Step:
    timer = state.timer.moved(event.now_s)
    if timer.elapsed_s >= policy.analysis.drain_s:
        return RolledBack(state.reason), (StopReplicas(Role.CANARY),)
    return Draining(state.reason, timer), ()
