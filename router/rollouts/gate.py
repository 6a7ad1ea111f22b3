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
from divisions.policy.facts import ImageFact
from divisions.promotion import LINEAGE, PRODUCTION, Approval, PromotionPolicy
from divisions.versions import REPORT, TRAINER, RegisteredVersion, ValidationStatus
from router.rollouts import approvals, canary
from router.rollouts.canary import Barred
from router.rollouts.records import EndpointRecord


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known besides the record. ``registered`` is the registry's entry of exactly this bundle; None if it is
    not known. ``drift`` is the endpoint's; None if nothing is known. ``store`` is the address of the store of
    bundles. ``image`` is the one that serves; None if that is not known."""

    now_s: float
    registered: RegisteredVersion | None = None
    drift: DriftSummary | None = None
    store: str = ""
    image: ImageFact | None = None

    def lineage(self, name: str) -> str:
        """A fact of the version's lineage; empty if it is not known."""
        return self.registered.lineage.get(name, "") if self.registered is not None else ""


@dataclass(frozen=True, slots=True)
class _Case:
    record: EndpointRecord
    facts: Facts
    approvals: tuple[Approval, ...]
    """Those that count."""

    @property
    def name(self) -> str:
        return f"{self.record.endpoint}@{self.record.rollout.spec.version.version}"


def in_force(asked: PromotionPolicy, environment: str) -> PromotionPolicy:
    """A pipeline's policy in the environment of a cluster. In production somebody else must approve.

    >>> in_force(PromotionPolicy(), "production").approvals
    1
    """
    environment = PRODUCTION if PRODUCTION in (environment, asked.environment) else environment or asked.environment
    needed = max(asked.approvals, 1) if environment == PRODUCTION else asked.approvals
    return PromotionPolicy(environment, needed, asked.freeze, asked.require, asked.registries, asked.images)


def is_asked(record: EndpointRecord) -> bool:
    """Whether the latest rollout needs a policy's leave: one that is over does not, and no way back does."""
    rollout = record.rollout
    is_going_back = isinstance(rollout.state, canary.RollingBack | canary.Draining)
    return not (canary.is_finished(rollout.state) or is_going_back or rollout.is_way_back)


def authors(starter: str, facts: Facts) -> tuple[str, ...]:
    """The principals who have made a version, as far as they are known: who trained it, and who started its rollout."""
    return tuple(dict.fromkeys(name for name in (starter, facts.lineage(TRAINER)) if name))


def missing(record: EndpointRecord, policy: PromotionPolicy, facts: Facts) -> tuple[Reason, ...]:
    """What is missing for the promotion of the latest rollout; empty if nothing is."""
    counting = approvals.counting(record, policy, authors(record.rollout.who, facts), facts.now_s)
    case = _Case(record, facts, counting)
    found = [_freeze(policy, facts.now_s), _approvals(case, policy)]
    found += [_RULES[name](case) for name in policy.require]
    found += [_registry(policy, facts.store), _image(policy, facts.image)]
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


def _approvals(case: _Case, policy: PromotionPolicy) -> Reason | None:
    who, trainer, found = case.record.rollout.who, case.facts.lineage(TRAINER), case.approvals
    if len(found) >= policy.approvals:
        return None
    names = ", ".join(each.name for each in found)
    so_far = f"{len(found)} of {policy.approvals} approvals" + (f" ({names})" if names else "")
    made = [f"{who}, who has started it"] if who else []
    made += [f"{trainer}, who has trained it"] if trainer and trainer != who else []
    but = f" other than {', and '.join(made)}," if made and policy.environment == PRODUCTION else ""
    return Reason("approvals", so_far, f"ask an approver{but} for `divisions approve {case.name}`")


def _metrics(case: _Case) -> Reason | None:
    version = case.facts.registered
    if version is None:
        return Reason("metrics", "the registry's entry of this version is not known", _REGISTRY)
    if version.metrics and version.validation_status is ValidationStatus.PASSED:
        return None
    said = version.validation_status.value if version.metrics else "without metrics"
    return Reason("metrics", f"the registry says that the version is {said}", "train it again with gates")


def _lineage(case: _Case) -> Reason | None:
    version = case.facts.registered
    if version is None:
        return Reason("lineage", "the registry's entry of this version is not known", _REGISTRY)
    gone = [name for name in LINEAGE if not version.lineage.get(name)]
    if not gone:
        return None
    return Reason("lineage", f"the version has no {', '.join(gone)}", "train it with a pipeline of this release")


def _report(case: _Case) -> Reason | None:
    report = case.facts.lineage(REPORT)
    if not report:
        return Reason("report", "the validation report of the version is not known", "train it with this release")
    if approvals.signing(case.approvals, report):
        return None
    how = f"read it, and ask an approver for `divisions approve {case.name} --report FILE`"
    return Reason("report", f"nobody has signed off the validation report {report[:16]}", how)


def _trainer(case: _Case) -> Reason | None:
    if case.facts.lineage(TRAINER):
        return None
    return Reason(
        "trainer", "it is not known who has trained the version", "train it while a gateway is up, with a token"
    )


def _drift(case: _Case) -> Reason | None:
    drift = case.facts.drift
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


def _image(policy: PromotionPolicy, image: ImageFact | None) -> Reason | None:
    if not policy.images:
        return None
    how = "deploy by manifests that name such an image by its digest"
    if image is None:
        return Reason("image", "it is not known which image serves", how)
    name = f"{image.registry}/{image.repository}"
    if image.is_pinned and any(_is_within(name, prefix) for prefix in policy.images):
        return None
    at = image.digest[:80] or "no digest"
    return Reason("image", f"the image {name} with {at} serves; allowed is {', '.join(policy.images)}", how)


def _is_within(address: str, prefix: str) -> bool:
    prefix = prefix.rstrip("/")
    return address == prefix or address.startswith(f"{prefix}/")


_REGISTRY: Final = "it is read every minute; `divisions models show` says whether it is there"
_RULES: Final[dict[str, Callable[[_Case], Reason | None]]] = {
    "metrics": _metrics,
    "lineage": _lineage,
    "drift": _drift,
    "report": _report,
    "trainer": _trainer,
}
