"""The state machine of a rollout: `advance(state, event, policy) -> (state, commands)`. Pure; no I/O, no clock.

::

    PENDING ─tick─> WARMING ─all warm─> STEP(0) ─pass─> STEP(1) ─pass─> … ─pass─> BAKE ─pass─> PROMOTED
                       │                   │               │                        │
                       │ deadline, or the  │ fail          │ fail                   │ fail
                       │ deployment failed v               v                        v
                       └─────────────> ROLLING_BACK ─gateways obey─> DRAINING ─drained─> ROLLED_BACK

    any of PENDING, WARMING, STEP, BAKE ──pause, undecided, or fail under "hold"──> HOLD ──resume──> where it was
    any of those and HOLD ──abort──> ROLLING_BACK        STEP, BAKE and HOLD of them ──promote──> PROMOTED
    a direct rollout (no stable yet, or back to an earlier version): WARMING ──all replicas warm──> PROMOTED

Rules, each with its reason:

1. **Only a pass or the operator raises the canary's weight.** A pass needs everything at once: the step's dwell and
   samples, a fresh judgement, every guard below *half* of its threshold, all replicas of both versions ready.
   Missing, stale or repeated data is not a pass.
2. **A guard fires in every state in which the canary has weight**, HOLD included; a check that is skipped in one
   state is how other systems let a bad version stand.
3. **A failure sets the weight to zero in the same transition**, then waits until gateways obey, then drains, then
   stops replicas. Weight first, replicas last: nobody is cut off.
4. **Stable always has capacity for all traffic.** If its replicas are gone when a rollback is due, they are started
   first and the weight moves last.
5. **Unknown is neither good nor bad.** Between half and the full threshold the rollout stays where it is; when the
   longest dwell is over it holds and asks the operator. It never passes or fails by default.
6. **At 100 % a holdback of stable remains while baking**, or there would be nothing left to compare with.
7. Time is counted from events, at most `MAX_GAP_S` per event: a clock that jumps, or a controller that was away,
   neither ends a dwell nor a deadline early.

An event that the diagram does not know raises `IllegalEventError`, naming both.
"""

from __future__ import annotations

import enum
import math
from typing import TypeAlias, assert_never

import msgspec

from divisions.control import FULL_BP, AnalysisSpec
from divisions.errors import IllegalEventError

MAX_GAP_S = 5.0
ACKNOWLEDGE_S = 5.0
"""How long a rollback waits for gateways to report the new table before it drains; a dead one never will."""
NO_REPLICAS_S = 10.0
"""A canary with weight but without a ready replica for so long has failed."""


class Phase(enum.StrEnum):
    PENDING = "PENDING"
    WARMING = "WARMING"
    STEP = "STEP"
    BAKE = "BAKE"
    PROMOTED = "PROMOTED"
    HOLD = "HOLD"
    ROLLING_BACK = "ROLLING_BACK"
    DRAINING = "DRAINING"
    ROLLED_BACK = "ROLLED_BACK"


class Role(enum.StrEnum):
    STABLE = "stable"
    CANARY = "canary"


class Policy(msgspec.Struct, frozen=True):
    """What does not change during a rollout. ``is_direct`` rollouts go to all traffic at once when warm."""

    steps_bp: tuple[int, ...]
    analysis: AnalysisSpec
    has_stable: bool = True
    is_direct: bool = False
    holds_on_failure: bool = False


class Timer(msgspec.Struct, frozen=True):
    """Seconds spent in a state, as events told them; ``seen_s`` is the monotonic time of the last one."""

    seen_s: float
    elapsed_s: float = 0.0

    def moved(self, now_s: float) -> Timer:
        return Timer(now_s, self.elapsed_s + min(max(now_s - self.seen_s, 0.0), MAX_GAP_S))

    def gap_s(self, now_s: float) -> float:
        return min(max(now_s - self.seen_s, 0.0), MAX_GAP_S)


# ---- States ------------------------------------------------------------------------------------------------------


class Pending(msgspec.Struct, frozen=True, tag=True):
    """Written down; nothing was started yet."""

    timer: Timer


class Warming(msgspec.Struct, frozen=True, tag=True):
    """The canary's replicas are starting; it has no weight."""

    timer: Timer


class Stepping(msgspec.Struct, frozen=True, tag=True):
    """The canary has the weight of ``steps_bp[index]``. ``starved_s``: how long no replica of it was ready."""

    index: int
    timer: Timer
    starved_s: float = 0.0


class Baking(msgspec.Struct, frozen=True, tag=True):
    """The canary has all traffic but the holdback."""

    timer: Timer
    starved_s: float = 0.0


class Held(msgspec.Struct, frozen=True, tag=True):
    """Nothing moves until the operator says so; weights are those of ``inner``."""

    inner: Pending | Warming | Stepping | Baking
    reason: str
    by_guard: bool = False
    """Whether a guard fired and the policy is to hold; otherwise a guard that fires still rolls back."""


class Promoted(msgspec.Struct, frozen=True, tag=True):
    """The canary is the new stable."""


class RollingBack(msgspec.Struct, frozen=True, tag=True):
    """``canary_bp`` is zero unless stable's replicas had to be started first."""

    reason: str
    canary_bp: int
    timer: Timer


class Draining(msgspec.Struct, frozen=True, tag=True):
    """No gateway sends to the canary any more; what is in flight ends."""

    reason: str
    timer: Timer


class RolledBack(msgspec.Struct, frozen=True, tag=True):
    reason: str


Active: TypeAlias = Pending | Warming | Stepping | Baking
State: TypeAlias = Pending | Warming | Stepping | Baking | Held | Promoted | RollingBack | Draining | RolledBack

# ---- Events ------------------------------------------------------------------------------------------------------


class Capacity(msgspec.Struct, frozen=True):
    """Replicas of one version: how many answer heartbeats, of how many wanted."""

    ready: int = 0
    wanted: int = 0

    @property
    def is_full(self) -> bool:
        return 0 < self.wanted <= self.ready


class Judgement(msgspec.Struct, frozen=True):
    """What the guards know. ``step_s`` and ``step_requests`` count what was judged in step ``step_index``."""

    latency_ln_e: float = 0.0
    error_ln_e: float = 0.0
    step_index: int = 0
    step_requests: int = 0
    step_s: float = 0.0
    is_fresh: bool = False


class Ticked(msgspec.Struct, frozen=True, tag=True):
    """One second has passed. ``deploy_failure`` is not empty once the canary's deployment has failed for good."""

    now_s: float
    stable: Capacity = Capacity()
    canary: Capacity = Capacity()
    judgement: Judgement = Judgement()
    is_acknowledged: bool = False
    deploy_failure: str = ""


class Pause(msgspec.Struct, frozen=True, tag=True):
    now_s: float
    who: str = "operator"


class Resume(msgspec.Struct, frozen=True, tag=True):
    now_s: float
    who: str = "operator"


class Promote(msgspec.Struct, frozen=True, tag=True):
    now_s: float
    who: str = "operator"
    canary: Capacity = Capacity()


class Abort(msgspec.Struct, frozen=True, tag=True):
    now_s: float
    reason: str = "aborted by operator"
    stable: Capacity = Capacity()


Event: TypeAlias = Ticked | Pause | Resume | Promote | Abort

# ---- Commands ----------------------------------------------------------------------------------------------------


class StartReplicas(msgspec.Struct, frozen=True, tag=True):
    role: Role


class StopReplicas(msgspec.Struct, frozen=True, tag=True):
    role: Role


class SetWeights(msgspec.Struct, frozen=True, tag=True):
    """Shares of the traffic; they sum to 10,000."""

    stable_bp: int
    canary_bp: int


class RetireReplicas(msgspec.Struct, frozen=True, tag=True):
    """Stop a version's replicas after a while: until then it is the quick way back."""

    role: Role
    after_s: float


Command: TypeAlias = StartReplicas | StopReplicas | SetWeights | RetireReplicas
Step: TypeAlias = tuple[State, tuple[Command, ...]]


class Verdict(enum.Enum):
    PASS = "pass"
    WAIT = "wait"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


# ---- Transitions -------------------------------------------------------------------------------------------------


def advance(state: State, event: Event, policy: Policy) -> Step:
    """One transition.

    Returns:
        The new state, and the commands to carry out in order once the state is on disk.

    Raises:
        IllegalEventError: the event cannot happen in this phase.
    """
    match state, event:
        case Pending(), Ticked():
            return Warming(Timer(event.now_s)), (StartReplicas(Role.CANARY),)
        case Warming(), Ticked():
            return _warm(state, event, policy)
        case Stepping() | Baking(), Ticked():
            return _observe(state, event, policy)
        case Held(), Ticked():
            return _observe_held(state, event, policy)
        case RollingBack(), Ticked():
            return _roll_back_further(state, event, policy)
        case Draining(), Ticked():
            return _drain(state, event, policy)
        case Promoted() | RolledBack(), Ticked():
            return state, ()
        case Pending() | Warming() | Stepping() | Baking(), Pause():
            return Held(state, f"paused by {event.who}"), ()
        case Held(), Resume():
            return _resumed(state.inner, event.now_s), ()
        case Stepping() | Baking(), Promote() if event.canary.ready:
            return _promote(policy)
        case Held(inner=Stepping() | Baking()), Promote() if event.canary.ready:
            return _promote(policy)
        case Pending() | Warming() | Stepping() | Baking() | Held(), Abort():
            return _roll_back(state, event.reason, event.stable, event.now_s, policy)
        case _:
            raise IllegalEventError(
                f"cannot {type(event).__name__.lower()} a rollout that is {phase(state).value}",
                remedy=_REMEDIES.get(phase(state), "see `divisions rollout status`"),
            )


_REMEDIES = {
    Phase.PENDING: "its replicas are not warm yet; wait, or abort it",
    Phase.WARMING: "its replicas are not warm yet; wait, or abort it",
    Phase.STEP: "none of its replicas is ready",
    Phase.BAKE: "none of its replicas is ready",
    Phase.HOLD: "none of its replicas is ready, or it has no traffic yet",
    Phase.ROLLING_BACK: "it is on its way back",
    Phase.DRAINING: "it is on its way back",
    Phase.PROMOTED: "it is finished; start a new rollout, or use `divisions rollback`",
    Phase.ROLLED_BACK: "it is finished; start a new rollout",
}


def start(now_s: float) -> State:
    """The state in which every rollout begins."""
    return Pending(Timer(now_s))


_PHASES: dict[type[State], Phase] = {
    Pending: Phase.PENDING,
    Warming: Phase.WARMING,
    Stepping: Phase.STEP,
    Baking: Phase.BAKE,
    Held: Phase.HOLD,
    Promoted: Phase.PROMOTED,
    RollingBack: Phase.ROLLING_BACK,
    Draining: Phase.DRAINING,
    RolledBack: Phase.ROLLED_BACK,
}


def phase(state: State) -> Phase:
    return _PHASES[type(state)]


def holdback_bp(policy: Policy) -> int:
    """Stable's share while baking; never so much that the canary would lose weight against the step before."""
    before_bp = policy.steps_bp[-2] if len(policy.steps_bp) > 1 else 0
    return min(policy.analysis.holdback_bp, FULL_BP - before_bp)


def canary_bp(state: State, policy: Policy) -> int:
    """The canary's weight in this state; stable has the rest."""
    match state:
        case Stepping(index=index):
            return policy.steps_bp[index]
        case Baking():
            return FULL_BP - holdback_bp(policy)
        case Held(inner=inner):
            return canary_bp(inner, policy)
        case RollingBack(canary_bp=weight_bp):
            return weight_bp
        case Promoted():
            return FULL_BP
        case _:
            return 0


def step_index(state: State, policy: Policy) -> int:
    """Which of ``steps_bp`` the rollout is at, from 0."""
    match state:
        case Stepping(index=index):
            return index
        case Held(inner=inner):
            return step_index(inner, policy)
        case Baking() | Promoted():
            return len(policy.steps_bp) - 1
        case _:
            return 0


def is_finished(state: State) -> bool:
    return isinstance(state, Promoted | RolledBack)


def judge(judgement: Judgement, timer: Timer, index: int, policy: Policy, *, is_baking: bool) -> Verdict:
    """What the guards' evidence means in step ``index``; NaN anywhere is no pass."""
    analysis = policy.analysis
    guards = (
        (judgement.latency_ln_e, -math.log(analysis.alpha)),
        (judgement.error_ln_e, -math.log(analysis.error_alpha)),
    )
    if any(ln_e >= threshold for ln_e, threshold in guards):
        return Verdict.FAIL
    dwell_s, samples = needed(policy, index, is_baking)
    is_pass = (
        judgement.is_fresh
        and judgement.step_index == index
        and judgement.step_s >= dwell_s
        and judgement.step_requests >= samples
        and all(ln_e < threshold / 2 for ln_e, threshold in guards)
    )
    if is_pass:
        return Verdict.PASS
    return Verdict.INCONCLUSIVE if timer.elapsed_s >= max(analysis.max_dwell_s, dwell_s) else Verdict.WAIT


def needed(policy: Policy, index: int, is_baking: bool) -> tuple[float, int]:
    """The judged seconds and canary requests without which step ``index`` does not pass."""
    analysis = policy.analysis
    samples = analysis.min_samples[min(index, len(analysis.min_samples) - 1)] if analysis.min_samples else 0
    return (analysis.bake_s if is_baking else analysis.min_dwell_s), samples


def _warm(state: Warming, event: Ticked, policy: Policy) -> Step:
    timer = state.timer.moved(event.now_s)
    if event.deploy_failure:
        return _fail(Warming(timer), event.deploy_failure, event, policy)
    if event.canary.is_full:
        if policy.is_direct or not policy.has_stable:
            return _promote(policy)
        if event.stable.ready:
            return _enter_step(0, event.now_s, policy)
    if timer.elapsed_s >= policy.analysis.deploy_deadline_s:
        reason = (
            f"deploy: {event.canary.ready} of {event.canary.wanted} replicas were warm "
            f"{policy.analysis.deploy_deadline_s:g} s after they were started"
        )
        return _fail(Warming(timer), reason, event, policy)
    return Warming(timer), ()


def _observe(state: Stepping | Baking, event: Ticked, policy: Policy) -> Step:
    state = _timed(state, event)
    if state.starved_s >= NO_REPLICAS_S:
        return _fail(state, _STARVED, event, policy)
    is_baking = isinstance(state, Baking)
    match judge(event.judgement, state.timer, step_index(state, policy), policy, is_baking=is_baking):
        case Verdict.FAIL:
            return _fail(state, fired(event.judgement, policy), event, policy)
        case Verdict.PASS if event.canary.is_full and event.stable.is_full:
            return _promote(policy) if is_baking else _enter_step(step_index(state, policy) + 1, event.now_s, policy)
        case Verdict.PASS | Verdict.WAIT:
            return state, ()
        case Verdict.INCONCLUSIVE:
            return Held(state, f"undecided after {state.timer.elapsed_s:.0f} s: too little traffic or evidence"), ()


def _observe_held(state: Held, event: Ticked, policy: Policy) -> Step:
    if state.by_guard or not isinstance(state.inner, Stepping | Baking):
        return state, ()
    inner = _timed(state.inner, event)
    if inner.starved_s >= NO_REPLICAS_S:
        return _fail(inner, _STARVED, event, policy)
    if judge(event.judgement, inner.timer, 0, policy, is_baking=False) is Verdict.FAIL:
        return _fail(inner, fired(event.judgement, policy), event, policy)
    return msgspec.structs.replace(state, inner=inner), ()


_STARVED = f"replicas: none of the canary's was ready for {NO_REPLICAS_S:g} s"


def _timed(state: Stepping | Baking, event: Ticked) -> Stepping | Baking:
    starved_s = 0.0 if event.canary.ready else state.starved_s + state.timer.gap_s(event.now_s)
    return msgspec.structs.replace(state, timer=state.timer.moved(event.now_s), starved_s=starved_s)


def fired(judgement: Judgement, policy: Policy) -> str:
    """Which guard fired, in short; the explanation has the rest."""
    if judgement.error_ln_e >= -math.log(policy.analysis.error_alpha):
        return f"errors: the canary fails more often than stable (ln E {judgement.error_ln_e:.2f})"
    return f"latency: the canary is slower than stable (ln E {judgement.latency_ln_e:.2f})"


def _fail(state: Active, reason: str, event: Ticked, policy: Policy) -> Step:
    if policy.holds_on_failure and isinstance(state, Stepping | Baking):
        return Held(state, reason, by_guard=True), ()
    return _roll_back(state, reason, event.stable, event.now_s, policy)


def _enter_step(index: int, now_s: float, policy: Policy) -> Step:
    weight_bp = policy.steps_bp[index]
    if weight_bp >= FULL_BP:
        stable_bp = holdback_bp(policy)
        return Baking(Timer(now_s)), (SetWeights(stable_bp, FULL_BP - stable_bp),)
    return Stepping(index, Timer(now_s)), (SetWeights(FULL_BP - weight_bp, weight_bp),)


def _resumed(inner: Active, now_s: float) -> State:
    """A resumed state counts its time anew; its evidence goes on."""
    match inner:
        case Pending() | Warming():
            return msgspec.structs.replace(inner, timer=Timer(now_s))
        case Stepping() | Baking():
            return msgspec.structs.replace(inner, timer=Timer(now_s), starved_s=0.0)
        case _:
            assert_never(inner)


def _promote(policy: Policy) -> Step:
    commands: tuple[Command, ...] = (SetWeights(0, FULL_BP),)
    if policy.has_stable:
        commands += (RetireReplicas(Role.STABLE, policy.analysis.keep_stable_s),)
    return Promoted(), commands


def _roll_back(state: State, reason: str, stable: Capacity, now_s: float, policy: Policy) -> Step:
    weight_bp = canary_bp(state, policy)
    if not policy.has_stable:
        return RollingBack(reason, 0, Timer(now_s)), ()
    if weight_bp and not stable.ready:
        return RollingBack(reason, weight_bp, Timer(now_s)), (StartReplicas(Role.STABLE),)
    return RollingBack(reason, 0, Timer(now_s)), (SetWeights(FULL_BP, 0),)


def _roll_back_further(state: RollingBack, event: Ticked, policy: Policy) -> Step:
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
