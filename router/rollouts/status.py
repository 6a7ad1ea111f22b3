"""An endpoint's record as people and programs see it. Pure."""

from __future__ import annotations

from divisions.control import FULL_BP
from divisions.promotion import GateStatus
from divisions.status import Evidence, RolloutStatus
from router.rollouts import canary
from router.rollouts.canary import Capacity, Judgement
from router.rollouts.explanations import why_unreached
from router.rollouts.records import EndpointRecord, Rollout, shares, stable_version

MANY = 100
"""Requests of stable from which on it is worth a word that none reached the canary."""


def status(
    record: EndpointRecord,
    epoch: int,
    evidence: Evidence,
    judgement: Judgement,
    stable: Capacity,
    ready: Capacity,
    gate: GateStatus | None = None,
) -> RolloutStatus:
    """The record as people and programs see it. ``stable`` and ``ready`` are the two versions' replicas."""
    rollout = record.rollout
    state = rollout.state
    index = canary.step_index(state, rollout.policy)
    active = state.inner if isinstance(state, canary.Held) else state
    is_promoted = isinstance(state, canary.Promoted)
    served = stable_version(record)
    actual_bp = next((share.weight_bp for share in shares(record) if share.is_canary), FULL_BP if is_promoted else 0)
    is_judged = isinstance(active, canary.Shadowing | canary.Stepping | canary.Baking)
    return RolloutStatus(
        endpoint=record.endpoint,
        model=rollout.spec.version.model,
        phase=canary.phase(state).value,
        generation=record.generation,
        epoch=epoch,
        step_index=index,
        steps_bp=rollout.spec.steps_bp,
        set_weight_bp=FULL_BP if isinstance(active, canary.Baking) else rollout.canary_bp,
        actual_weight_bp=actual_bp,
        stable_version=served.version if served else None,
        canary_version=rollout.spec.version.version,
        message=_waits(gate)
        or (
            _progress(rollout, evidence, judgement, stable, ready) if active is state and is_judged else rollout.message
        ),
        rollback_reason=rollout.rollback_reason,
        evidence=evidence,
        canary_requests=judgement.step_requests,
        started_at_s=rollout.started_at_s,
        phase_since_s=rollout.phase_since_s,
        history=record.history,
        explanation=rollout.explanation,
        spec_sha256=rollout.spec_sha256,
        stable_replicas=stable.ready,
        canary_replicas=ready.ready,
        wanted_stable_replicas=stable.wanted,
        wanted_canary_replicas=ready.wanted,
        is_compared=not rollout.is_direct,
        previous_version=record.previous,
        gate=gate,
        who=rollout.who,
    )


def _waits(gate: GateStatus | None) -> str:
    return f"waits for the policy: {'. '.join(map(str, gate.reasons))}" if gate and gate.is_waiting else ""


def _progress(rollout: Rollout, evidence: Evidence, judgement: Judgement, stable: Capacity, ready: Capacity) -> str:
    dwell_s, samples = canary.needed(
        rollout.policy, canary.judged_step(rollout.state, rollout.policy), isinstance(rollout.state, canary.Baking)
    )
    unreached = why_unreached(evidence) if evidence.stable_applied >= MANY else ""
    return (
        f"{judgement.step_requests:,} of {samples:,} requests and {judgement.step_s:.0f} of {dwell_s:.0f} s judged; "
        + (unreached or _ln_e(evidence))
        + _short_of_replicas(stable, ready)
    )


def _ln_e(evidence: Evidence) -> str:
    return (
        f"ln E latency {evidence.latency_log_e:.2f} of {evidence.threshold:.2f}, "
        f"errors {evidence.error_log_e:.2f} of {evidence.error_threshold:.2f}"
    )


def _short_of_replicas(stable: Capacity, ready: Capacity) -> str:
    """Why a step does not pass although its evidence is good: arms of unlike capacity cannot be compared."""
    short = [
        f"{name} has {capacity.ready} of {capacity.wanted} replicas"
        for name, capacity in (("stable", stable), ("the canary", ready))
        if not capacity.is_full
    ]
    return f"; waits, because {' and '.join(short)}" if short else ""
