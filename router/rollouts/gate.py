"""What a policy asks of a promotion, and what of it is missing. Pure.

A pipeline's own demands are decided here: approvals, freeze windows, facts that must be there. Every rule is a positive
condition: what is not known is missing. An engine of policies may refuse besides, see `router.control.gate_desk`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from divisions.drift import DriftSummary
from divisions.policy.engine import Reason
from divisions.promotion import LINEAGE, PRODUCTION, PromotionPolicy
from divisions.versions import RegisteredVersion, ValidationStatus
from router.rollouts import approvals, canary
from router.rollouts.canary import Barred
from router.rollouts.records import EndpointRecord


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known besides the record. ``registered`` is the registry's entry of exactly this bundle; None if it is
    not known. ``drift`` is the endpoint's; None if nothing is known. ``store`` is the address of the store of
    bundles."""

    now_s: float
    registered: RegisteredVersion | None = None
    drift: DriftSummary | None = None
    store: str = ""


def in_force(asked: PromotionPolicy, environment: str) -> PromotionPolicy:
    """A pipeline's policy in the environment of a cluster. In production somebody else must approve.

    >>> in_force(PromotionPolicy(), "production").approvals
    1
    """
    environment = PRODUCTION if PRODUCTION in (environment, asked.environment) else environment or asked.environment
    needed = max(asked.approvals, 1) if environment == PRODUCTION else asked.approvals
    return PromotionPolicy(environment, needed, asked.freeze, asked.require, asked.registries)


def is_asked(record: EndpointRecord) -> bool:
    """Whether the latest rollout needs a policy's leave: one that is over does not, and no way back does."""
    rollout = record.rollout
    is_going_back = isinstance(rollout.state, canary.RollingBack | canary.Draining)
    return not (canary.is_finished(rollout.state) or is_going_back or rollout.is_way_back)


def missing(record: EndpointRecord, policy: PromotionPolicy, facts: Facts) -> tuple[Reason, ...]:
    """What is missing for the promotion of the latest rollout; empty if nothing is."""
    found = [_freeze(policy, facts.now_s), _approvals(record, policy, facts)]
    found += [_RULES[name](facts) for name in policy.require]
    found.append(_registry(policy, facts.store))
    return tuple(reason for reason in found if reason is not None)


def barred(record: EndpointRecord, policy: PromotionPolicy, facts: Facts, others: Sequence[Reason] = ()) -> Barred:
    """What bars the way of the latest rollout now. ``others`` are reasons of an engine."""
    if not is_asked(record):
        return Barred()
    frozen = _freeze(policy, facts.now_s)
    reasons = (*missing(record, policy, facts), *others)
    return Barred(str(frozen) if frozen else "", ". ".join(map(str, reasons)))


def _freeze(policy: PromotionPolicy, now_s: float) -> Reason | None:
    window = next((each for each in policy.freeze if each.has(now_s)), None)
    if window is None:
        return None
    return Reason("freeze", f"changes are frozen from {window}", "it goes on by itself afterwards")


def _approvals(record: EndpointRecord, policy: PromotionPolicy, facts: Facts) -> Reason | None:
    who = record.rollout.who
    found = approvals.counting(record, policy, facts.now_s)
    if len(found) >= policy.approvals:
        return None
    names = ", ".join(each.name for each in found)
    so_far = f"{len(found)} of {policy.approvals} approvals" + (f" ({names})" if names else "")
    but = f" other than {who}, who has started it," if who and policy.environment == PRODUCTION else ""
    version = record.rollout.spec.version.version
    return Reason("approvals", so_far, f"ask an approver{but} for `divisions approve {record.endpoint}@{version}`")


def _metrics(facts: Facts) -> Reason | None:
    version = facts.registered
    if version is None:
        return Reason("metrics", "the registry's entry of this version is not known", _REGISTRY)
    if version.metrics and version.validation_status is ValidationStatus.PASSED:
        return None
    said = version.validation_status.value if version.metrics else "without metrics"
    return Reason("metrics", f"the registry says that the version is {said}", "train it again with gates")


def _lineage(facts: Facts) -> Reason | None:
    version = facts.registered
    if version is None:
        return Reason("lineage", "the registry's entry of this version is not known", _REGISTRY)
    gone = [name for name in LINEAGE if not version.lineage.get(name)]
    if not gone:
        return None
    return Reason("lineage", f"the version has no {', '.join(gone)}", "train it with a pipeline of this release")


def _drift(facts: Facts) -> Reason | None:
    drift = facts.drift
    if drift is None or drift.score is None:
        return Reason("drift", "the drift of the endpoint is not known yet", "wait until it has traffic enough")
    if not drift.alerts:
        return None
    return Reason("drift", f"{len(drift.alerts)} alerts of drift are open", "see `divisions status`, and train again")


def _registry(policy: PromotionPolicy, store: str) -> Reason | None:
    if not policy.registries or any(_is_within(store, prefix) for prefix in policy.registries):
        return None
    allowed = ", ".join(policy.registries)
    where = store or "the home's own folder"
    return Reason("registries", f"bundles are in {where}, not in {allowed}", "set DIVISIONS_ARTIFACTS to such a place")


def _is_within(store: str, prefix: str) -> bool:
    prefix = prefix.rstrip("/")
    return store == prefix or store.startswith(f"{prefix}/")


_REGISTRY: Final = "it is read every minute; `divisions models show` says whether it is there"
_RULES: Final[dict[str, Callable[[Facts], Reason | None]]] = {
    "metrics": _metrics,
    "lineage": _lineage,
    "drift": _drift,
}
