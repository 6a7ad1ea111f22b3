"""Says what bars the way of a rollout: its pipeline's demands at once, an engine's refusals as they were heard last.

A tick never waits for an engine. `due` names the questions, somebody asks them elsewhere and tells `decided`. Its
permission counts for `FRESH_S`, and only for the very rollout and approvals that it was asked about. Without one that
counts, a version is not promoted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from divisions.clock import Clock
from divisions.control import VersionSpec
from divisions.drift import DriftSummary
from divisions.policy.engine import ENGINE_RULE, Decision, Kind, Query, Reason
from divisions.policy.facts import (
    ApprovalFact,
    AskedFact,
    GateFact,
    ImageFact,
    LineageFact,
    Person,
    PromotionFacts,
    ReportFact,
)
from divisions.promotion import Approval, GateStatus, PromotionPolicy
from divisions.versions import REPORT, TRAINER, RegisteredVersion
from router.rollouts import approvals, canary, gate
from router.rollouts.canary import Barred
from router.rollouts.gate import Facts
from router.rollouts.records import EndpointRecord

ASK_S = 5.0
"""How often an engine is asked about a rollout."""
LONGEST_PAUSE_S = 15.0
"""How long an engine that does not decide is left alone at most."""
FRESH_S = 30.0
"""How long a permission counts. A refusal stands until the next answer."""
_SILENT = Reason(ENGINE_RULE, "the engine of policies has not answered yet", "wait some seconds; it is asked again")

Registered = Callable[[], Iterable[RegisteredVersion] | None]
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """What a policy is told besides the records.

    Attributes:
        registered: the registry's versions as they were last read; None while they were not.
        drift: the drift of each endpoint.
        store: the address of the store of bundles; empty for the home's own.
        environment: of the cluster, such as production; empty if it has none.
        image: that serves; None if it is not known.
    """

    registered: Registered = lambda: None
    drift: Callable[[], Iterable[DriftSummary]] = tuple
    store: str = ""
    environment: str = ""
    image: ImageFact | None = None


@dataclass(slots=True)
class _Heard:
    key: _Key
    decision: Decision | None
    at_s: float
    next_s: float
    pause_s: float = ASK_S


class GateDesk:
    """See the module.

    Args:
        clock: the time.
        sources: what a policy is told.
        has_engine: whether there is an engine; without one, the pipelines' demands are all.
    """

    def __init__(self, clock: Clock, sources: Sources, *, has_engine: bool) -> None:
        self._clock = clock
        self._sources = sources
        self._has_engine = has_engine
        self._heard: dict[str, _Heard] = {}

    def policy(self, record: EndpointRecord) -> PromotionPolicy:
        """The policy in force for the latest rollout."""
        return gate.in_force(record.rollout.spec.policy, self._sources.environment)

    def barred(self, record: EndpointRecord) -> Barred:
        """What bars the way of the latest rollout now."""
        policy = self.policy(record)
        if not self._is_asked(record, policy):
            return Barred()
        return gate.barred(record, policy, self._facts(record, policy), self._refusals(record, policy))

    def status(self, record: EndpointRecord) -> GateStatus | None:
        """The same for people; None where there is no policy."""
        policy = self.policy(record)
        if policy == PromotionPolicy() and not self._has_engine:
            return None
        found = approvals.standing(record, record.rollout.spec.version, self._clock.wall_s())
        if not self._is_asked(record, policy):
            return GateStatus((), False, policy.approvals, found)
        missing = gate.missing(record, policy, self._facts(record, policy))
        reasons = (*missing, *self._refusals(record, policy))
        state = record.rollout.state
        is_waiting = canary.is_barred(state) and bool(reasons)
        return GateStatus(reasons, is_waiting, policy.approvals, found)

    def due(self, records: Mapping[str, EndpointRecord]) -> list[tuple[str, Query]]:
        """The questions that an engine should be asked now, by endpoint."""
        now_s, found = self._clock.monotonic_s(), []
        for endpoint, record in records.items():
            policy = self.policy(record)
            if not self._has_engine or not self._is_asked(record, policy):
                self._heard.pop(endpoint, None)
                continue
            key, heard = _key(record, policy), self._heard.get(endpoint)
            if heard is None or heard.key != key:
                heard = self._heard[endpoint] = _Heard(key, None, now_s, now_s)
            if now_s >= heard.next_s:
                heard.next_s = now_s + heard.pause_s
                found.append((endpoint, Query(Kind.PROMOTION, self._question(record, policy))))
        return found

    def decided(self, record: EndpointRecord | None, asked: Query, decision: Decision) -> None:
        """Takes an answer; one about what has changed meanwhile does not count."""
        heard = self._heard.get(record.endpoint) if record is not None else None
        if record is None or heard is None or not isinstance(asked.input, PromotionFacts):
            return
        policy = self.policy(record)
        if heard.key != _key(record, policy) or asked.input.approvals != self._approved(record, policy):
            return
        now_s = self._clock.monotonic_s()
        is_silent = any(reason.rule == ENGINE_RULE for reason in decision.reasons)
        heard.pause_s = min(2 * heard.pause_s, LONGEST_PAUSE_S) if is_silent else ASK_S
        heard.decision, heard.at_s, heard.next_s = decision, now_s, now_s + heard.pause_s

    def _is_asked(self, record: EndpointRecord, policy: PromotionPolicy) -> bool:
        return gate.is_asked(record) and (self._has_engine or policy != PromotionPolicy())

    def _refusals(self, record: EndpointRecord, policy: PromotionPolicy) -> tuple[Reason, ...]:
        if not self._has_engine:
            return ()
        heard = self._heard.get(record.endpoint)
        is_known = heard is not None and heard.decision is not None and heard.key == _key(record, policy)
        if heard is None or heard.decision is None or not is_known:
            return (_SILENT,)
        decision = heard.decision
        if decision.allow:
            return () if self._clock.monotonic_s() - heard.at_s <= FRESH_S else (_SILENT,)
        return decision.reasons or (Reason(ENGINE_RULE, "it is refused without a reason", "ask who wrote the rules"),)

    def authors(self, starter: str, version: VersionSpec) -> tuple[str, ...]:
        """The principals who have made a version, see `gate.authors`."""
        return gate.authors(starter, Facts(self._clock.wall_s(), self.registered(version)))

    def _facts(self, record: EndpointRecord, policy: PromotionPolicy) -> Facts:
        now_s = self._clock.wall_s()
        if policy == PromotionPolicy():
            return Facts(now_s)
        registered, sources = self.registered(record.rollout.spec.version), self._sources
        return Facts(now_s, registered, self._drift(record), sources.store, sources.image)

    def registered(self, wanted: VersionSpec) -> RegisteredVersion | None:
        """The registry's entry of exactly this bundle; None if it is not known."""
        name = (wanted.model, wanted.version, wanted.bundle_sha256)
        known = self._sources.registered() or ()
        return next((each for each in known if (each.model, each.version, each.bundle_sha256) == name), None)

    def _drift(self, record: EndpointRecord) -> DriftSummary | None:
        return next((each for each in self._sources.drift() if each.endpoint == record.endpoint), None)

    def _approved(self, record: EndpointRecord, policy: PromotionPolicy) -> tuple[ApprovalFact, ...]:
        return _told(self._counting(record, policy))

    def _counting(self, record: EndpointRecord, policy: PromotionPolicy) -> tuple[Approval, ...]:
        authors = self.authors(record.rollout.who, record.rollout.spec.version)
        return approvals.counting(record, policy, authors, self._clock.wall_s())

    def _question(self, record: EndpointRecord, policy: PromotionPolicy) -> PromotionFacts:
        rollout = record.rollout
        version, drift, sources = rollout.spec.version, self._drift(record), self._sources
        registered = self.registered(version)
        facts = registered.lineage if registered is not None else {}
        report, counting = facts.get(REPORT, ""), self._counting(record, policy)
        passed = {"passed": "passed", "failed": "failed"}
        outcome = passed.get(registered.validation_status.value, "unknown") if registered is not None else "unknown"
        metrics = registered.metrics if registered is not None else {}
        return PromotionFacts(
            endpoint=record.endpoint,
            model=version.model,
            version=version.version,
            environment=policy.environment,
            requester=Person(rollout.who, rollout.role),
            now_s=self._clock.wall_s(),
            authors=self.authors(rollout.who, version),
            trainer=facts.get(TRAINER, ""),
            gates=tuple(GateFact(name, outcome, value) for name, value in sorted(metrics.items())),
            drift=drift.score if drift is not None else None,
            drift_alerts=len(drift.alerts) if drift is not None else 0,
            lineage=LineageFact(
                registered.trained_by if registered is not None else "",
                facts.get("data_sha256", ""),
                facts.get("code", "") or facts.get("git_commit", ""),  # versions of older releases have only a commit
                version.bundle_sha256,
                facts.get("schema_sha256", ""),
                facts.get("pipeline_sha256", ""),
            ),
            report=ReportFact(report, approvals.signing(counting, report)),
            approvals=_told(counting),
            store=sources.store,
            image=sources.image,
            asked=_asked(policy, self._clock.wall_s()),
        )


def _told(found: Iterable[Approval]) -> tuple[ApprovalFact, ...]:
    return tuple(ApprovalFact(each.name, each.role, each.at_s) for each in found)


def _asked(policy: PromotionPolicy, now_s: float) -> AskedFact:
    frozen = next((str(window) for window in policy.freeze if window.has(now_s)), "")
    return AskedFact(policy.require, policy.approvals, policy.registries, frozen, policy.images)


def _key(record: EndpointRecord, policy: PromotionPolicy) -> _Key:
    """What an answer is about: this rollout, with these approvals, under this policy."""
    return record.rollout.number, record.approvals, policy
