"""The table of a rollout's transitions from phase to phase. docs/rollouts.md shows it as a diagram. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from router.rollouts.states import Phase


@dataclass(frozen=True, slots=True)
class Transition:
    """One transition from phase to phase, and its cause."""

    source: Phase
    cause: str
    target: Phase


_JUDGED = (Phase.SHADOW, Phase.STEP, Phase.BAKE)
_ACTIVE = (Phase.PENDING, Phase.WARMING, *_JUDGED)

TRANSITIONS: tuple[Transition, ...] = (
    Transition(Phase.PENDING, "tick", Phase.WARMING),
    Transition(Phase.WARMING, "all replicas warm, shadow_s > 0", Phase.SHADOW),
    Transition(Phase.WARMING, "all replicas warm", Phase.STEP),
    Transition(Phase.WARMING, "all replicas warm, a single step", Phase.BAKE),
    Transition(Phase.WARMING, "all replicas warm, nothing to compare with", Phase.PROMOTED),
    Transition(Phase.WARMING, "deployment failed or late", Phase.ROLLING_BACK),
    Transition(Phase.SHADOW, "pass", Phase.STEP),
    Transition(Phase.SHADOW, "pass, a single step", Phase.BAKE),
    Transition(Phase.STEP, "pass", Phase.STEP),
    Transition(Phase.STEP, "pass at the last step but one", Phase.BAKE),
    Transition(Phase.BAKE, "pass, and the policy allows it", Phase.PROMOTED),
    *(Transition(source, "fail, or no replicas", Phase.ROLLING_BACK) for source in (*_JUDGED, Phase.HOLD)),
    *(
        Transition(source, "undecided or short of replicas, split or drift, fail under `hold`", Phase.HOLD)
        for source in _JUDGED
    ),
    *(Transition(source, "pause", Phase.HOLD) for source in _ACTIVE),
    *(Transition(Phase.HOLD, "resume", target) for target in _ACTIVE),
    *(Transition(source, "promote", Phase.PROMOTED) for source in (Phase.STEP, Phase.BAKE, Phase.HOLD)),
    *(Transition(source, "abort", Phase.ROLLING_BACK) for source in (*_ACTIVE, Phase.HOLD)),
    Transition(Phase.ROLLING_BACK, "stable's replicas are back", Phase.ROLLING_BACK),
    Transition(Phase.ROLLING_BACK, "gateways apply it", Phase.DRAINING),
    Transition(Phase.DRAINING, "drained", Phase.ROLLED_BACK),
)
PRECEDES_JOURNAL = frozenset({Phase.HOLD, Phase.ROLLING_BACK, Phase.DRAINING})
"""Phases that a rollout enters even while the journal cannot be written. No weight rises there, and no replica stops.

All other phases raise a weight, start a version, or end the canary's replicas. They wait for the disk."""
UNDER_WAY = frozenset({*_ACTIVE, Phase.HOLD})
"""Phases from which a rollout can be rolled back."""
ALLOWED = frozenset((transition.source, transition.target) for transition in TRANSITIONS)
