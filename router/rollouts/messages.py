"""Puts a rollout's transitions into words, for the journal, the status and the event log. Pure; no I/O."""

from __future__ import annotations

import msgspec

from divisions.control import FULL_BP
from divisions.status import Explanation
from router.rollouts import canary
from router.rollouts.canary import State
from router.rollouts.records import EndpointRecord, size, stable_version


class RolloutEvent(msgspec.Struct, frozen=True):
    """One transition. ``kind`` is the journal's; ``weight_bp`` is the canary's after it."""

    at_s: float
    endpoint: str
    kind: str
    generation: int
    epoch: int
    phase: str
    weight_bp: int
    stable_version: str | None
    canary_version: str
    message: str
    explanation: Explanation | None = None


def message(state: State, record: EndpointRecord, explanation: Explanation | None) -> str:
    """One line about the transition of ``record`` into ``state``."""
    version = record.rollout.spec.version.version
    policy = record.rollout.policy
    match state:
        case canary.Pending() | canary.Warming():
            return f"waiting for {size(record, record.rollout.spec.version)} replicas of {version}"
        case canary.Shadowing():
            share = canary.mirror_bp(state, policy) / 100
            return f"copying {share:g} % of stable's requests to {version}; its answers are thrown away"
        case canary.Stepping(index=index):
            return f"step {index + 1}/{len(policy.steps_bp)}: {policy.steps_bp[index] / 100:g} % to {version}"
        case canary.Baking():
            share = (FULL_BP - canary.holdback_bp(policy)) / 100
            return f"step {len(policy.steps_bp)}/{len(policy.steps_bp)}: baking at {share:g} % on {version}"
        case canary.Held(reason=reason):
            return explanation.text if explanation else reason
        case canary.Promoted(note=note):
            return f"{version} serves all traffic" + (f"; {note}" if note else "")
        case canary.RollingBack(reason=reason):
            return explanation.text if explanation else reason
        case canary.Draining():
            return f"no gateway sends to {version} any more; draining it"
        case canary.RolledBack(reason=reason):
            return f"rolled back: {record.rollout.explanation.text if record.rollout.explanation else reason}"


def event(kind: str, record: EndpointRecord, epoch: int, at_s: float, note: str) -> RolloutEvent:
    """The transition as an event for programs; ``record`` is the one after it."""
    rollout = record.rollout
    stable = stable_version(record)
    return RolloutEvent(
        at_s=at_s,
        endpoint=record.endpoint,
        kind=kind,
        generation=record.generation,
        epoch=epoch,
        phase=canary.phase(rollout.state).value,
        weight_bp=rollout.canary_bp,
        stable_version=stable.version if stable is not None else None,
        canary_version=rollout.spec.version.version,
        message=note,
        explanation=rollout.explanation,
    )
