"""States, events and commands of a rollout: the vocabulary of `router.rollouts.canary`. Pure.

States go to the journal as JSON, each under the name of its class.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from divisions.analysis_spec import AnalysisSpec

MAX_GAP_S = 5.0
"""The most time that one event counts."""


class Phase(enum.StrEnum):
    PENDING = "PENDING"
    WARMING = "WARMING"
    SHADOW = "SHADOW"
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
    """The settings that stay the same during a rollout. ``is_direct``: all traffic at once, as soon as it is warm."""

    steps_bp: tuple[int, ...]
    analysis: AnalysisSpec
    has_stable: bool = True
    is_direct: bool = False
    holds_on_failure: bool = False


class Timer(msgspec.Struct, frozen=True):
    """Seconds spent in a state, summed over events. ``seen_s`` is the monotonic time of the last event."""

    seen_s: float
    elapsed_s: float = 0.0

    def moved(self, now_s: float) -> Timer:
        return Timer(now_s, self.elapsed_s + min(max(now_s - self.seen_s, 0.0), MAX_GAP_S))

    def gap_s(self, now_s: float) -> float:
        return min(max(now_s - self.seen_s, 0.0), MAX_GAP_S)


# ---- States ------------------------------------------------------------------------------------------------------


class Pending(msgspec.Struct, frozen=True, tag=True):
    """In the journal; nothing was started yet."""

    timer: Timer


class Warming(msgspec.Struct, frozen=True, tag=True):
    """The canary's replicas are starting; it has no weight.

    In every state that has it, ``is_barred`` means: it would go on, but for the policy (`Barred`).
    """

    timer: Timer
    is_barred: bool = False


class Shadowing(msgspec.Struct, frozen=True, tag=True):
    """The canary answers copies of stable's requests, and its answers are dropped. It has no weight."""

    timer: Timer
    starved_s: float = 0.0
    is_barred: bool = False


class Stepping(msgspec.Struct, frozen=True, tag=True):
    """The canary has the weight of ``steps_bp[index]``. ``starved_s``: how long no replica of it was ready."""

    index: int
    timer: Timer
    starved_s: float = 0.0
    is_barred: bool = False


class Baking(msgspec.Struct, frozen=True, tag=True):
    """The canary has all traffic but the holdback."""

    timer: Timer
    starved_s: float = 0.0
    is_barred: bool = False


class Held(msgspec.Struct, frozen=True, tag=True):
    """The rollout waits for the operator. Weights are those of ``inner``."""

    inner: Pending | Warming | Shadowing | Stepping | Baking
    reason: str
    by_guard: bool = False
    """Whether a guard fired under the policy to hold. Otherwise a guard that fires still rolls back."""


class Promoted(msgspec.Struct, frozen=True, tag=True):
    """The canary is the new stable. ``note`` says who did without the policy, and why; empty if nobody did."""

    note: str = ""


class RollingBack(msgspec.Struct, frozen=True, tag=True):
    """``canary_bp`` is zero unless stable's replicas had to be started first."""

    reason: str
    canary_bp: int
    timer: Timer


class Draining(msgspec.Struct, frozen=True, tag=True):
    """No gateway sends to the canary any more; requests in flight end."""

    reason: str
    timer: Timer


class RolledBack(msgspec.Struct, frozen=True, tag=True):
    reason: str


Judged: TypeAlias = Shadowing | Stepping | Baking
Active: TypeAlias = Pending | Warming | Judged
State: TypeAlias = Active | Held | Promoted | RollingBack | Draining | RolledBack

# ---- Events ------------------------------------------------------------------------------------------------------


class Capacity(msgspec.Struct, frozen=True):
    """Replicas of one version: how many send heartbeats, of how many wanted."""

    ready: int = 0
    wanted: int = 0

    @property
    def is_full(self) -> bool:
        return 0 < self.wanted <= self.ready


SHADOW_STEP = -1


class Judgement(msgspec.Struct, frozen=True):
    """The guards' present evidence.

    ``step_s`` and ``step_requests`` count what was judged in step ``step_index``, which is `SHADOW_STEP` before the
    first. ``sample_ratio_ln_e`` is about the split's realised weights. The two drifts are corrected indices
    (`divisions.stability`), zero while there is too little to tell from. ``is_tripped``: a
    gateway's breaker has tripped.
    """

    latency_ln_e: float = 0.0
    error_ln_e: float = 0.0
    step_index: int = 0
    step_requests: int = 0
    step_s: float = 0.0
    is_fresh: bool = False
    is_tripped: bool = False
    sample_ratio_ln_e: float = 0.0
    input_drift: float = 0.0
    prediction_drift: float = 0.0


class Barred(msgspec.Struct, frozen=True):
    """Why the policy lets no weight rise now, and why it lets the canary not be promoted; empty if it does."""

    rise: str = ""
    promotion: str = ""


class Ticked(msgspec.Struct, frozen=True, tag=True):
    """One second has passed. ``deploy_failure`` is not empty once the canary's deployment has failed for good.

    ``next_replicas`` are those that the canary needs before its next weight; 0 means no more than it has. ``lacks``
    says what the cluster has too little of for the canary's replicas.
    """

    now_s: float
    stable: Capacity = Capacity()
    canary: Capacity = Capacity()
    judgement: Judgement = Judgement()
    is_acknowledged: bool = False
    deploy_failure: str = ""
    next_replicas: int = 0
    lacks: str = ""
    barred: Barred = Barred()


class Pause(msgspec.Struct, frozen=True, tag=True):
    now_s: float
    who: str = "operator"


class Resume(msgspec.Struct, frozen=True, tag=True):
    now_s: float
    who: str = "operator"


class Promote(msgspec.Struct, frozen=True, tag=True):
    """``broken`` is the reason to do without the policy; empty if it holds."""

    now_s: float
    who: str = "operator"
    canary: Capacity = Capacity()
    barred: Barred = Barred()
    broken: str = ""


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
    """Stop a version's replicas after ``after_s``. Until then they are the quick way back."""

    role: Role
    after_s: float


Command: TypeAlias = StartReplicas | StopReplicas | SetWeights | RetireReplicas
Step: TypeAlias = tuple[State, tuple[Command, ...]]


def is_barred(state: State) -> bool:
    """Whether a rollout that would go on waits for the policy."""
    return isinstance(state, Active) and not isinstance(state, Pending) and state.is_barred


_PHASES: dict[type[State], Phase] = {
    Pending: Phase.PENDING,
    Warming: Phase.WARMING,
    Shadowing: Phase.SHADOW,
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


def is_finished(state: State) -> bool:
    return isinstance(state, Promoted | RolledBack)
