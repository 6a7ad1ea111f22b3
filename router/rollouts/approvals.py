"""Who has approved a version, and whose approval counts. Pure.

An approval is of one bundle, by its hash: a version that is registered again needs a new one. It ends after a while
(`divisions.promotion.APPROVAL_S`). In production nobody approves what they have trained, or brought here, themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from divisions.control import VersionSpec
from divisions.promotion import PRODUCTION, Approval, PromotionPolicy
from router.rollouts import canary
from router.rollouts.records import EndpointRecord

MAX_APPROVALS = 500
"""Per endpoint; the oldest go first."""


def with_one(approvals: Sequence[Approval], new: Approval) -> tuple[Approval, ...]:
    """With a new approval. Somebody who approves twice counts once."""
    return (*without(approvals, new.bundle_sha256, new.name), new)[-MAX_APPROVALS:]


def without(approvals: Sequence[Approval], bundle_sha256: str, name: str) -> tuple[Approval, ...]:
    """Without somebody's approval of a bundle."""
    return tuple(each for each in approvals if (each.bundle_sha256, each.name) != (bundle_sha256, name))


def standing(record: EndpointRecord, version: VersionSpec, now_s: float) -> tuple[Approval, ...]:
    """The approvals of exactly this version that have not ended."""
    wanted = (version.version, version.bundle_sha256)
    return tuple(
        each for each in record.approvals if (each.version, each.bundle_sha256) == wanted and each.expires_s > now_s
    )


def counting(
    record: EndpointRecord, policy: PromotionPolicy, authors: Collection[str], now_s: float
) -> tuple[Approval, ...]:
    """Those of the version of the latest rollout that count under a policy. ``authors`` have made the version."""
    found = standing(record, record.rollout.spec.version, now_s)
    if policy.environment != PRODUCTION:
        return found
    return tuple(each for each in found if each.name not in authors)


def signing(found: Sequence[Approval], report_sha256: str) -> tuple[str, ...]:
    """Who of them has signed off exactly this validation report; nobody if it is not known."""
    return tuple(each.name for each in found if report_sha256 and each.report_sha256 == report_sha256)


def version_to_approve(record: EndpointRecord, label: str) -> VersionSpec | None:
    """The version with this label that is being rolled out, or will be next; None if it is neither."""
    queued = (record.queued.spec.version,) if record.queued is not None else ()
    present = () if canary.is_finished(record.rollout.state) else (record.rollout.spec.version,)
    return next((each for each in (*queued, *present) if each.version == label), None)


def starter(record: EndpointRecord, version: VersionSpec) -> str:
    """Who has started the rollout of a version; empty if that is not known."""
    queued = record.queued
    is_queued = queued is not None and queued.spec.version == version
    return queued.who if queued is not None and is_queued else record.rollout.who
