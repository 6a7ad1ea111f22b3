"""The canary's weights: what a state and a policy say about shares of the traffic. Pure."""

from __future__ import annotations

from divisions.control import FULL_BP
from router.rollouts.states import (
    SHADOW_STEP,
    Baking,
    Held,
    Pending,
    Policy,
    Promoted,
    RollingBack,
    Shadowing,
    State,
    Stepping,
    Warming,
)

MAX_MIRROR_BP = 2_000
"""The largest share of stable's requests that is mirrored. The canary's replicas are sized for a step, not for all."""


def holdback_bp(policy: Policy) -> int:
    """Stable's share while baking; never so large that the canary would have less weight than in the step before."""
    before_bp = policy.steps_bp[-2] if len(policy.steps_bp) > 1 else 0
    return min(policy.analysis.holdback_bp, FULL_BP - before_bp)


def weights_bp(policy: Policy) -> tuple[int, ...]:
    """The canary's weights, step by step; below 100 % if there is a holdback."""
    return tuple(min(weight_bp, FULL_BP - holdback_bp(policy)) for weight_bp in policy.steps_bp)


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


def next_bp(state: State, policy: Policy) -> int:
    """The canary's weight after a pass; 0 where a pass does not raise it."""
    match state:
        case Shadowing():
            return weights_bp(policy)[0]
        case Stepping(index=index):
            return weights_bp(policy)[index + 1]
        case _:
            return 0


def sized_bp(state: State, policy: Policy) -> int:
    """The weight that the canary's replicas must be there for: its own, or its first while it has none."""
    match state:
        case Pending() | Warming():
            return FULL_BP if policy.is_direct else weights_bp(policy)[0]
        case Held(inner=inner):
            return sized_bp(inner, policy)
        case Shadowing():
            return weights_bp(policy)[0]
        case _:
            return canary_bp(state, policy)


def mirror_bp(state: State, policy: Policy) -> int:
    """The share of stable's requests that are copied to the canary."""
    match state:
        case Shadowing() | Held(inner=Shadowing()):
            return min(policy.steps_bp[0], MAX_MIRROR_BP)
        case _:
            return 0


def judged_step(state: State, policy: Policy) -> int:
    """The step that judgements are about: `step_index`, or `SHADOW_STEP` before the first."""
    match state:
        case Shadowing() | Held(inner=Shadowing()):
            return SHADOW_STEP
        case _:
            return step_index(state, policy)


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
