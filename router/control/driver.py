"""Drives rollouts: takes an event, has `canary.advance` decide, writes the decision down, then makes it so.

::

    event -> advance -> journal (fsync) -> routing table with a higher epoch -> gateways that wait for it
                                        -> wanted applications               -> `applications.Reconciler`
                                        -> production versions               -> `registry_projection.Projector`

Reports, commands and ticks all end here, so there is one place where a record changes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping

import msgspec

from divisions.clock import Clock
from divisions.errors import JournalUnavailableError
from divisions.status import Explanation
from router.control import analyses, version_scales
from router.control.analyses import Analyses
from router.control.endpoints import Endpoints
from router.control.event_log import EventSink
from router.control.gate_desk import GateDesk
from router.control.publisher import TablePublisher
from router.control.sizing import Sizing
from router.control.table_store import TableStore
from router.evidence import salts
from router.journal.journal import Journal, Kind, kind_of
from router.journal.writer import Entry, JournalWriter
from router.rollouts import canary, messages, records
from router.rollouts.canary import Judgement, Phase, State
from router.rollouts.monitor import Monitor
from router.rollouts.records import EndpointRecord, Queued, Retiring
from router.rollouts.transitions import PRECEDES_JOURNAL, UNDER_WAY
from router.scaling.placement import Cluster

log = logging.getLogger(__name__)


class RolloutDriver:
    """See the module.

    Args:
        journal: replayed by `resume`.
        writer: where decisions are written.
        endpoints: the records; replaced here.
        monitor: what gateways have counted.
        analyses: the analyses of running rollouts.
        publisher: publishes the routing table.
        store: the routing table in force.
        sizing: how many replicas each version should have.
        gates: what policies say to a promotion.
        clock: the time.
        new_salt: makes the salt of a new rollout; a fresh one puts other customers first each time.
        events: told of every transition.
    """

    def __init__(
        self,
        journal: Journal,
        writer: JournalWriter,
        endpoints: Endpoints,
        monitor: Monitor,
        analyses: Analyses,
        publisher: TablePublisher,
        store: TableStore,
        sizing: Sizing,
        gates: GateDesk,
        clock: Clock,
        new_salt: Callable[[], str],
        events: EventSink | None,
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._endpoints = endpoints
        self._monitor = monitor
        self._analyses = analyses
        self._publisher = publisher
        self._store = store
        self._sizing = sizing
        self._gates = gates
        self._clock = clock
        self._new_salt = new_salt
        self._events = events
        self._unacknowledged: dict[str, int] = {}
        self.over: Callable[[EndpointRecord], None] = lambda record: None
        """Told of each rollout that has ended, with its last record."""
        self.deploy_failures: Mapping[str, str] = {}
        """Why wanted applications cannot run, by name."""
        self.cluster: Cluster | None = None
        """The cluster as it was seen last; None if it was not."""
        self.rollbacks: dict[tuple[str, str], int] = {}
        """How many rollouts each guard has rolled back, by endpoint and guard."""

    def resume(self) -> None:
        """Reads the journal: goes on where an earlier controller stopped."""
        self._endpoints.records = self._journal.replay()
        self._store.resume(self._journal.epoch, self._writer.leap() if self._journal.may_be_behind else 0)
        self.rollbacks = self._journal.rollbacks()
        self._publisher.recover()
        self._analyses.resume(self._endpoints.records, self._clock.monotonic_s())

    # ---- Events --------------------------------------------------------------------------------------------------

    def apply(self, endpoint: str, event: canary.Event) -> None:
        """Applies an event to the endpoint's rollout.

        Raises:
            IllegalEventError: it cannot happen in this phase.
        """
        record = self._endpoints.records[endpoint]
        state, commands = canary.advance(record.rollout.state, event, record.rollout.policy)
        if not commands and canary.phase(state) is canary.phase(record.rollout.state):
            # Only time has passed: not worth a write. That it waits for somebody is.
            moved = msgspec.structs.replace(record, rollout=msgspec.structs.replace(record.rollout, state=state))
            if canary.is_barred(state) and not canary.is_barred(record.rollout.state):
                self._note_barred(moved)
            else:
                self._endpoints.records[endpoint] = moved
            return
        self._transition(record, state, commands)

    def tick(self, endpoint: str, now_s: float) -> None:
        """Tells the endpoint's rollout that time has passed. What needs the journal waits until it can be written."""
        record = self._endpoints.records[endpoint]
        analysis = self._monitor.analysis(endpoint)
        version = record.rollout.spec.version
        ready = self._endpoints.capacity(version)
        event = canary.Ticked(
            now_s=now_s,
            stable=self._endpoints.capacity(record.rollout.stable),
            canary=ready,
            judgement=analysis.judgement(now_s) if analysis else Judgement(),
            is_acknowledged=endpoint not in self._unacknowledged,
            deploy_failure=self.deploy_failures.get(version.app_name, ""),
            next_replicas=self._sizing.next_replicas(record),
            lacks=version_scales.lacks(self._endpoints.sized(version), ready.ready, self.cluster),
            barred=self._gates.barred(record),
        )
        with contextlib.suppress(JournalUnavailableError):  # the next tick tries again
            self.apply(endpoint, event)

    def resize(self, endpoint: str) -> None:
        """Gives the endpoint's versions as many replicas as their load needs now.

        More replicas are started even if the journal cannot be written: the next write that succeeds has them.
        """
        record = self._endpoints.records[endpoint]
        plan = self._sizing.plan(record)
        if plan.sizes:
            sized = records.resized(record, plan.sizes, at_s=self._clock.wall_s())
            try:
                self.write(Kind.SCALED, sized, plan.note)
            except JournalUnavailableError:
                before = records.wanted_versions(record, self._clock.wall_s())
                if all(count >= before[name].replicas for name, count in plan.sizes.items()):
                    self._endpoints.records[endpoint] = sized
        analysis = self._monitor.analysis(endpoint)
        if analysis is not None and self._sizing.is_settling(self._endpoints.records[endpoint]):
            analysis.leave_out(int(self._clock.monotonic_s()) + 1)

    def abort(self, record: EndpointRecord, reason: str) -> None:
        """Rolls the endpoint's rollout back."""
        stable = self._endpoints.capacity(record.rollout.stable)
        self.apply(record.endpoint, canary.Abort(self._clock.monotonic_s(), reason, stable))

    def distrust_journal(self, epoch: int) -> None:
        """Rolls back every rollout that is under way: gateways have tables that the journal does not know.

        Only what lowers a weight, or holds it, is published before it is on disk. Or the journal was restored from an
        older copy. In both cases a rollback may be missing in it. A first version has nothing to roll back to.

        Args:
            epoch: of a gateway's table.
        """
        known = self._journal.epoch
        log.warning("a gateway has table %d, the journal knows none above %d", epoch, known)
        self._store.go_above(epoch)
        for record in list(self._endpoints.records.values()):
            if record.rollout.stable is not None and canary.phase(record.rollout.state) in UNDER_WAY:
                self.abort(
                    record,
                    f"journal: gateways have table {epoch:,}, the journal knows none above {known:,}; "
                    "a rollback may be missing in it",
                )

    # ---- Rollouts that begin -------------------------------------------------------------------------------------

    def begin_or_queue(self, queued: Queued) -> None:
        """Begins a rollout; if another one is under way, rolls that back first."""
        record = self._endpoints.records.get(queued.spec.endpoint)
        if record is None or canary.is_finished(record.rollout.state):
            self._begin(queued)
            return
        reason = f"superseded by {queued.spec.version.version}"
        self.write(Kind.QUEUED, msgspec.structs.replace(record, queued=queued), reason)
        self.make_way(queued.spec.endpoint)

    def make_way(self, endpoint: str) -> None:
        """Rolls back for a queued rollout, or begins it once that is done."""
        record = self._endpoints.records[endpoint]
        if record.queued is None or isinstance(record.rollout.state, canary.RollingBack | canary.Draining):
            return
        if canary.is_finished(record.rollout.state):
            self._begin(record.queued)
        else:
            self.abort(record, f"superseded by {record.queued.spec.version.version}")

    def _begin(self, queued: Queued) -> None:
        endpoint = queued.spec.endpoint
        now_s = self._clock.monotonic_s()
        record = records.begun(
            self._endpoints.records.get(endpoint),
            queued.spec,
            salt=self._new_salt(),
            is_direct=queued.is_direct,
            who=queued.who,
            role=queued.role,
            reason=queued.reason,
            traceparent=queued.traceparent,
            at_s=self._clock.wall_s(),
            now_s=now_s,
        )
        self.write(Kind.CREATED, record, record.rollout.message)
        self._monitor.end(endpoint)
        self._unacknowledged.pop(endpoint, None)
        self.tick(endpoint, now_s)

    def promote(self, record: EndpointRecord, who: str, broken: str) -> None:
        """Promotes a canary before its evidence is complete; ``broken`` is the reason to do so without the policy.

        Raises:
            PolicyRefusedError: the policy does not allow it, and there is no such reason.
        """
        ready = self._endpoints.capacity(record.rollout.spec.version)
        barred = self._gates.barred(record)
        self.apply(record.endpoint, canary.Promote(self._clock.monotonic_s(), who, ready, barred, broken))

    # ---- Transitions ---------------------------------------------------------------------------------------------

    def write(self, kind: Kind, record: EndpointRecord, note: str, *, precedes_journal: bool = False) -> None:
        """Puts a record on disk, then into force.

        Args:
            kind: what happened.
            record: the record after it.
            note: the same for people.
            precedes_journal: whether it comes into force even if the journal cannot be written.

        Raises:
            JournalUnavailableError: the journal cannot be written, and nothing has changed.
        """
        at_s, epoch = self._clock.wall_s(), self._store.epoch + 1
        entry = Entry(kind, record, at_s, epoch, note)
        is_written = True
        if precedes_journal:
            is_written = self._writer.append_or_keep(entry)
        else:
            self._writer.append(entry)
        self._endpoints.records[record.endpoint] = record
        log.info("%s: %s %s", record.endpoint, kind.value, note)
        if self._events is not None:
            self._events.emit(messages.event(kind.value, record, epoch, at_s, note))
        # An equal table tells gateways an epoch that the journal does not know: see `distrust_journal`.
        self._publisher.publish(is_forced=not is_written)

    def acknowledge(self, endpoint: str, gateways: Mapping[str, int]) -> None:
        """Notes when every living gateway splits by the weights that were last set.

        Args:
            endpoint: whose weights.
            gateways: the epoch that each living gateway has.
        """
        record = self._endpoints.records[endpoint]
        epoch = self._unacknowledged.get(endpoint)
        if epoch is None or any(known < epoch for known in gateways.values()):
            return
        del self._unacknowledged[endpoint]
        self._analyses.applied(endpoint, self._clock.monotonic_s())
        if canary.phase(record.rollout.state) in {Phase.STEP, Phase.BAKE}:
            note = f"{len(gateways)} gateways have epoch {epoch}"
            self._writer.append_or_keep(Entry(Kind.STEP_APPLIED, record, self._clock.wall_s(), epoch, note))

    def _note_barred(self, record: EndpointRecord) -> None:
        barred = self._gates.barred(record)
        note = f"waits for the policy: {barred.rise or barred.promotion}"
        at_s = self._clock.wall_s()
        rollout = msgspec.structs.replace(record.rollout, message=note)
        after = records.told(msgspec.structs.replace(record, rollout=rollout), at_s, note)
        self.write(Kind.BARRED, msgspec.structs.replace(after, generation=record.generation + 1), note)

    def _transition(self, record: EndpointRecord, state: State, commands: tuple[canary.Command, ...]) -> None:
        """Writes a transition down, then makes it so."""
        explanation = self._explain(record, state)
        record = self._salted(record, state)
        text = messages.message(state, record, explanation)
        reason = state.reason if isinstance(state, canary.RollingBack) else ""
        after = records.moved(
            record, state, self._clock.wall_s(), text, rollback_reason=reason, explanation=explanation
        )
        after = self._remembered(after, commands)
        phase = canary.phase(state)
        is_rollback = phase is Phase.ROLLING_BACK and not isinstance(record.rollout.state, canary.RollingBack)
        guard = explanation.guard if explanation else "operator"
        if is_rollback and guard != "journal":  # that is no fault of the version
            after = records.latched(after)
        epoch = self._store.epoch
        kind = kind_of(phase, was_held=isinstance(record.rollout.state, canary.Held))
        self.write(kind, after, text, precedes_journal=phase in PRECEDES_JOURNAL)
        if is_rollback:
            self.rollbacks[record.endpoint, guard] = self.rollbacks.get((record.endpoint, guard), 0) + 1
        is_published = self._store.epoch > epoch or self._publisher.is_recovering
        if is_published and any(isinstance(command, canary.SetWeights) for command in commands):
            self._unacknowledged[record.endpoint] = epoch + 1
        if canary.is_finished(state):
            self.over(after)
        self._follow(after)

    def _explain(self, record: EndpointRecord, state: State) -> Explanation | None:
        """Explains a roll-back or a hold. What the guards decided is written down before it is acted on."""
        explanation = self._analyses.explain(record, state)
        if explanation is None or explanation.guard not in analyses.EXPLAINED:
            return explanation
        self._analyses.save(record)
        self._writer.append_or_keep(
            Entry(Kind.DECISION, record, self._clock.wall_s(), self._store.epoch, explanation.text)
        )
        return explanation

    def _salted(self, record: EndpointRecord, state: State) -> EndpointRecord:
        """The record with the salt whose arms would have been most alike, when the canary gets its first weight."""
        started = record.rollout
        weight_bp = canary.canary_bp(state, started.policy)
        if started.canary_bp or not weight_bp or started.stable is None or isinstance(state, canary.Promoted):
            return record
        found, trial_bp = self._monitor.salts(record.endpoint, started.salt), records.trial_bp(record)
        index = salts.best(found, trial_bp)
        gaps = salts.gaps(found, trial_bp, index)
        chosen = msgspec.structs.replace(started, salt=salts.candidate(started.salt, index), gaps=gaps)
        return msgspec.structs.replace(record, rollout=chosen)

    def _remembered(self, record: EndpointRecord, commands: tuple[canary.Command, ...]) -> EndpointRecord:
        """The record with what commands ask to be remembered. What runs and is routed follows from the state."""
        for command in commands:
            match command:
                case canary.RetireReplicas(after_s=after_s) if record.rollout.stable is not None:
                    old = record.rollout.stable
                    retiring = Retiring(old, self._clock.wall_s() + after_s)
                    record = msgspec.structs.replace(
                        record, retiring=(*record.retiring, retiring), previous=old.version
                    )
                case canary.SetWeights(canary_bp=weight_bp):
                    assert weight_bp == record.rollout.canary_bp, (weight_bp, record.rollout.state)
                case _:
                    pass
        return record

    def _follow(self, record: EndpointRecord) -> None:
        """What comes after a transition: the analysis of the next step, or the next rollout."""
        match record.rollout.state:
            case canary.Shadowing() | canary.Stepping() | canary.Baking():
                self._analyses.enter_step(record, self._clock.monotonic_s())
                if record.endpoint not in self._unacknowledged:  # the weight is that of before: a shadow has none
                    self._analyses.applied(record.endpoint, self._clock.monotonic_s())
            case canary.RolledBack():
                self.make_way(record.endpoint)
            case _:
                pass
