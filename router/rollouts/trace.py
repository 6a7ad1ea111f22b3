"""A rollout that is over as spans: the rollout, and below it each phase with what ended it. Pure.

    rollout churn        created ........................................ promoted, or rolled back
      load replicas             .....
      step                           ....... ........
      rollback                                        ...

All is read from the record, and ids are hashes of what the rollout is. So it does not matter how often the controller
was started again meanwhile, and a trace that is sent twice is the same.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Final

from divisions.status import HistoryEntry
from divisions.traces.parent import Parent, WorkSpan, parent_of
from router.rollouts import canary
from router.rollouts.records import EndpointRecord, Rollout

_NAMES: Final = {
    "PENDING": "pending",
    "WARMING": "load replicas",
    "SHADOW": "shadow",
    "STEP": "step",
    "BAKE": "bake",
    "HOLD": "hold",
    "ROLLING_BACK": "rollback",
    "DRAINING": "drain",
}
MOST_CHARACTERS: Final = 500


def parent(rollout: Rollout) -> Parent | None:
    """The span of the command that has begun the rollout; None if it named none."""
    return parent_of(rollout.traceparent)


def spans(record: EndpointRecord) -> list[WorkSpan]:
    """The spans of the record's rollout, which is over; the parent first."""
    rollout = record.rollout
    version, is_back = rollout.spec.version, not isinstance(rollout.state, canary.Promoted)
    identity = f"{record.endpoint}/{rollout.number}/{rollout.started_at_s}/{rollout.spec_sha256}"
    above = parent(rollout)
    trace_id = above.trace_id if above is not None else _id(f"trace of {identity}", 16)
    own_id = _id(identity, 8)
    attributes: dict[str, str | int | float | bool] = {
        "divisions.rollout_id": f"{record.endpoint}/{rollout.number}",
        "divisions.endpoint": record.endpoint,
        "divisions.model": version.model,
        "divisions.version": version.version,
        "divisions.outcome": canary.phase(rollout.state).value,
    }
    if version.run_id:
        attributes["divisions.run_id"] = version.run_id
    if rollout.stable is not None:
        attributes["divisions.stable_version"] = rollout.stable.version
    if is_back and rollout.explanation is not None:
        attributes["divisions.guard"] = rollout.explanation.guard
    error = rollout.message[:MOST_CHARACTERS] if is_back else ""
    whole = WorkSpan(
        f"rollout {record.endpoint}",
        trace_id,
        own_id,
        above.span_id if above is not None else 0,
        rollout.started_at_s,
        rollout.phase_since_s,
        attributes,
        error,
    )
    return [whole, *(_phase(whole, identity, *pair) for pair in _phases(record))]


def _phases(record: EndpointRecord) -> list[tuple[HistoryEntry, HistoryEntry]]:
    """Each phase, or step of another weight, with what came after it."""
    entries: list[HistoryEntry] = []
    for entry in record.history:
        is_same = entries and (entry.phase, entry.weight_bp) == (entries[-1].phase, entries[-1].weight_bp)
        if entry.at_s >= record.rollout.started_at_s and not is_same:
            entries.append(entry)
    return list(itertools.pairwise(entries))


def _phase(whole: WorkSpan, identity: str, entry: HistoryEntry, after: HistoryEntry) -> WorkSpan:
    attributes: dict[str, str | int | float | bool] = {
        "divisions.weight": entry.weight_bp / 10_000,
        "divisions.message": entry.message[:MOST_CHARACTERS],
        "divisions.decision": after.message[:MOST_CHARACTERS],
    }
    span_id = _id(f"{identity}/{entry.at_s}/{entry.phase}/{entry.weight_bp}", 8)
    name = _NAMES.get(entry.phase, entry.phase.lower())
    return WorkSpan(name, whole.trace_id, span_id, whole.span_id, entry.at_s, after.at_s, attributes)


def _id(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1
