"""The controller without Ray: it owns the journal, the rollouts and the routing table. One thread, one event loop.

Every decision is `router.rollouts.canary.advance`'s; here it is written down, then carried out::

    event -> advance -> journal (fsync) -> routing table with a higher epoch -> gateways that wait for it
                                        -> wanted applications               -> `applications.Reconciler`
                                        -> production versions               -> `registry_projection.Projector`

After a restart the journal is replayed. Gateways go on by the table they hold; nothing is published until replicas
of every version with traffic have been heard again, or `RECOVERY_S` has passed, so that a controller that knows no
replica yet never empties a table that works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec

from divisions.clock import Clock
from divisions.control import (
    FULL_BP,
    ControllerStatus,
    Evidence,
    Explanation,
    GatewayReport,
    Placement,
    ReplicaAddress,
    RollbackCount,
    RolloutCommand,
    RolloutSpec,
    RolloutStatus,
    RoutingTable,
    VersionSpec,
)
from divisions.errors import (
    ConflictError,
    MalformedRequestError,
    ReportError,
    StaleGenerationError,
    UnknownVersionError,
)
from router.control import analyses, routing
from router.control.analyses import Analyses
from router.control.event_log import EventSink
from router.control.journal import Journal, Kind, kind_of
from router.control.replica_register import ReplicaRegister
from router.control.table_store import TableStore
from router.evidence import salts
from router.evidence.drift import NO_BINS, InputBins
from router.rollouts import admission, canary, messages, records
from router.rollouts.canary import Capacity, Judgement, Phase, State
from router.rollouts.monitor import Arms, Monitor
from router.rollouts.records import EndpointRecord, Queued, Retiring

log = logging.getLogger(__name__)

SNAPSHOT_S = 10.0
RECOVERY_S = 15.0
PARTIAL_RECOVERY_S = 4.0
"""Two heartbeats: after them, whoever has not been heard is not waited for, if every version has somebody."""


class Controller:
    """Takes registrations, reports and commands; gives out routing tables.

    Args:
        journal: opened; replayed here.
        clock: the time.
        new_salt: makes the salt of a new rollout, so that no customer is always the guinea pig.
        allow_faults: whether versions may ask for fault injection.
        read_bins: reads the bins of a version's training data, for the alert on drift.
        events: told of every transition.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        new_salt: Callable[[], str],
        *,
        allow_faults: bool,
        read_bins: Callable[[VersionSpec], InputBins] = lambda version: NO_BINS,
        events: EventSink | None = None,
    ) -> None:
        self._journal = journal
        self._events = events
        self._rollbacks = journal.rollbacks()
        self._clock = clock
        self._new_salt = new_salt
        self._allow_faults = allow_faults
        self._register = ReplicaRegister()
        self._watch = Monitor()
        self._judges = Analyses(journal, self._watch, read_bins)
        self._book = TableStore(journal)
        self._failures: Mapping[str, str] = {}
        self._snapshot_s = clock.monotonic_s()
        self._started_s = clock.monotonic_s()
        self._started_at_s = clock.wall_s()
        self._restarts = journal.count_start() - 1
        self._unacknowledged: dict[str, int] = {}
        self._records = journal.replay()
        self._is_recovering = any(records.shares(record) for record in self._records.values())
        self._judges.resume(self._records, clock.monotonic_s())

    # ---- What others tell ----------------------------------------------------------------------------------------

    def register_replica(self, address: ReplicaAddress) -> None:
        """A warm replica's heartbeat."""
        if self._register.hear(address):
            self._publish()

    def report(self, report: GatewayReport) -> bool:
        """A gateway's second; returns whether it counted. What makes no sense is logged and left out."""
        now_s = self._clock.monotonic_s()
        try:
            is_counted, tripped = self._watch.report(report, now_s, self._arms)
        except ReportError as error:
            log.warning("gateway %s: %s", report.gateway_id, error)
            return False
        # A second that is complete is judged at once: the next turn may be a whole second away.
        judged = self._watch.close_ticks(now_s, self._arms) if is_counted else 0
        for endpoint in () if self._is_recovering else list(self._records) if judged else tripped:
            self._step(endpoint, self._ticked(self._records[endpoint], now_s))
        return is_counted

    def applications_failed(self, failures: Mapping[str, str]) -> None:
        """Why wanted applications cannot run, by name, as of now."""
        self._failures = dict(failures)

    def applications_stopped(self, app_names: list[str]) -> None:
        for app_name in app_names:
            self._register.forget(app_name)

    # ---- What others ask for -------------------------------------------------------------------------------------

    def start_rollout(self, spec: RolloutSpec, *, force: bool = False) -> RolloutStatus:
        """Begins a rollout. One that is under way is rolled back first; the new one follows it.

        Raises:
            MalformedRequestError: the spec makes no sense.
            FaultsRefusedError: it asks for faults, and they are not allowed.
            LatchedSpecError: the same spec was rolled back before, and ``force`` is not set.
            ConflictError: the same spec is under way, or its version serves already.
        """
        record = self._records.get(spec.endpoint)
        admission.check(spec, record, is_forced=force, allow_faults=self._allow_faults)
        self._journal.save_version(spec.endpoint, spec.version)
        self._begin_or_queue(Queued(spec))
        return self._status_of(self._records[spec.endpoint])

    def command(self, command: RolloutCommand) -> RolloutStatus:
        """Carries out an operator's command; it is on disk when this returns.

        Raises:
            UnknownVersionError: no such endpoint, or no such version to go back to.
            StaleGenerationError: the rollout has moved on since the generation that the caller saw.
            IllegalEventError: the command cannot be carried out in this phase.
        """
        record = self._record(command.endpoint)
        if command.generation is not None and command.generation != record.generation:
            raise StaleGenerationError(
                f"the rollout of {command.endpoint} is at generation {record.generation}, not {command.generation}",
                remedy="look at its status, and repeat the command if it still makes sense",
            )
        now_s = self._clock.monotonic_s()
        match command.command:
            case "pause":
                self._step(command.endpoint, canary.Pause(now_s, command.who))
            case "resume":
                self._step(command.endpoint, canary.Resume(now_s, command.who))
            case "promote":
                ready = self._capacity(record.rollout.spec.version)
                self._step(command.endpoint, canary.Promote(now_s, command.who, ready))
            case "abort":
                self._abort(record, f"aborted by {command.who}")
            case "rollback":
                self._go_back(record, command)
            case _:
                raise MalformedRequestError(
                    f"unknown command {command.command!r}", remedy="use pause, resume, promote, abort or rollback"
                )
        return self._status_of(self._records[command.endpoint])

    async def poll_table(self, known_epoch: int, timeout_s: float) -> RoutingTable:
        """The table, at once if it is newer than ``known_epoch``, else when it changes or after ``timeout_s``."""
        if known_epoch > self._book.epoch:
            # The journal was lost, but not the gateways: they only take epochs above the one they have.
            self._book.epoch = known_epoch
            self._publish(is_forced=True)
        return await self._book.newer(known_epoch, timeout_s)

    def wanted(self) -> dict[str, VersionSpec]:
        """The versions whose replicas should run, by application name."""
        now_s = self._clock.wall_s()
        versions: dict[str, VersionSpec] = {}
        for record in self._records.values():
            versions |= records.wanted_versions(record, now_s)
        return versions

    def production(self) -> dict[str, VersionSpec]:
        """The version that serves, by model."""
        stables = (records.stable_version(record) for record in self._records.values())
        return {stable.model: stable for stable in stables if stable is not None}

    def status(self) -> ControllerStatus:
        return ControllerStatus(
            epoch=self._book.table.epoch,
            replicas=routing.replica_statuses(
                self._records.values(), self.wanted(), self._register, self._clock.wall_s()
            ),
            rollouts=tuple(self._status_of(record) for record in self._records.values()),
            gateways=tuple(sorted(self._watch.gateways(self._clock.monotonic_s()))),
            started_at_s=self._started_at_s,
            restarts=self._restarts,
            rollbacks=tuple(RollbackCount(*key, count) for key, count in sorted(self._rollbacks.items())),
        )

    @property
    def table(self) -> RoutingTable:
        return self._book.table

    @property
    def is_recovering(self) -> bool:
        return self._is_recovering

    # ---- Once a second -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Judges what has come in, moves every rollout on, and lets versions go whose time is over."""
        now_s = self._clock.monotonic_s()
        if self._register.tick(now_s):
            self._publish()
        self._watch.close_ticks(now_s, self._arms)
        if self._is_recovering:
            self._publish()
            return
        gateways = self._watch.gateways(now_s)
        for endpoint, record in list(self._records.items()):
            self._acknowledge(record, gateways)
            self._step(endpoint, self._ticked(self._records[endpoint], now_s))
            self._make_way(self._records[endpoint])
            self._retire(self._records[endpoint])
        if now_s - self._snapshot_s >= SNAPSHOT_S:
            self._snapshot_s = now_s
            for record in self._records.values():
                self._judges.save(record)

    def _ticked(self, record: EndpointRecord, now_s: float) -> canary.Ticked:
        judge = self._watch.judge(record.endpoint)
        stable = record.rollout.stable
        return canary.Ticked(
            now_s=now_s,
            stable=self._capacity(stable) if stable else Capacity(),
            canary=self._capacity(record.rollout.spec.version),
            judgement=judge.judgement(now_s) if judge else Judgement(),
            is_acknowledged=record.endpoint not in self._unacknowledged,
            deploy_failure=self._failures.get(record.rollout.spec.version.app_name, ""),
        )

    def _acknowledge(self, record: EndpointRecord, gateways: Mapping[str, int]) -> None:
        """Notes when every living gateway splits by the weights that were last set."""
        epoch = self._unacknowledged.get(record.endpoint)
        if epoch is None or any(seen < epoch for seen in gateways.values()):
            return
        del self._unacknowledged[record.endpoint]
        if canary.phase(record.rollout.state) in {Phase.STEP, Phase.BAKE}:
            note = f"{len(gateways)} gateways obey epoch {epoch}"
            self._journal.append(Kind.STEP_APPLIED, record, at_s=self._clock.wall_s(), epoch=epoch, note=note)

    def _retire(self, record: EndpointRecord) -> None:
        now_s = self._clock.wall_s()
        over = [retiring for retiring in record.retiring if retiring.until_s <= now_s]
        if over:
            kept = tuple(retiring for retiring in record.retiring if retiring.until_s > now_s)
            note = ", ".join(f"{retiring.version.version} is no longer kept warm" for retiring in over)
            self._write(Kind.RETIRED, msgspec.structs.replace(record, retiring=kept), note)

    # ---- Transitions ---------------------------------------------------------------------------------------------

    def _step(self, endpoint: str, event: canary.Event) -> None:
        record = self._records[endpoint]
        state, commands = canary.advance(record.rollout.state, event, record.rollout.policy)
        if not commands and canary.phase(state) is canary.phase(record.rollout.state):
            # Only time has passed: not worth a write.
            moved = msgspec.structs.replace(record.rollout, state=state)
            self._records[endpoint] = msgspec.structs.replace(record, rollout=moved)
            return
        self._transition(record, state, commands)

    def _transition(self, record: EndpointRecord, state: State, commands: tuple[canary.Command, ...]) -> None:
        """Writes a transition down, then makes it so."""
        was_held = isinstance(record.rollout.state, canary.Held)
        explanation = self._decide(record, state)
        record = self._salted(record, state)
        text = messages.message(state, record, explanation)
        reason = state.reason if isinstance(state, canary.RollingBack) else ""
        after = records.moved(
            record, state, self._clock.wall_s(), text, rollback_reason=reason, explanation=explanation
        )
        after = self._with_commands(after, commands)
        phase = canary.phase(state)
        if phase is Phase.ROLLING_BACK and not isinstance(record.rollout.state, canary.RollingBack):
            after = records.latched(after)
            guard = explanation.guard if explanation else "operator"
            self._rollbacks[record.endpoint, guard] = self._rollbacks.get((record.endpoint, guard), 0) + 1
        kind = kind_of(phase, was_held=was_held)
        epoch = self._book.epoch
        self._write(kind, after, text)
        is_published = self._book.epoch > epoch or self._is_recovering
        if is_published and any(isinstance(command, canary.SetWeights) for command in commands):
            self._unacknowledged[record.endpoint] = epoch + 1
        self._follow(after)

    def _salted(self, record: EndpointRecord, state: State) -> EndpointRecord:
        """The record with the salt whose arms would have been most alike, when the canary gets its first weight."""
        started = record.rollout
        weight_bp = canary.canary_bp(state, started.policy)
        if started.canary_bp or not weight_bp or started.stable is None or isinstance(state, canary.Promoted):
            return record
        found, trial_bp = self._watch.salts(record.endpoint, started.salt), records.trial_bp(record)
        index = salts.best(found, trial_bp)
        gaps = salts.gaps(found, trial_bp, index)
        chosen = msgspec.structs.replace(started, salt=salts.candidate(started.salt, index), gaps=gaps)
        return msgspec.structs.replace(record, rollout=chosen)

    def _with_commands(self, record: EndpointRecord, commands: tuple[canary.Command, ...]) -> EndpointRecord:
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

    def _decide(self, record: EndpointRecord, state: State) -> Explanation | None:
        """Explains a roll-back or a hold; what the guards decided is written down before it is acted on."""
        explanation = self._judges.explain(record, state)
        if explanation is None or explanation.guard not in analyses.EXPLAINED:
            return explanation
        self._judges.save(record)
        self._journal.append(
            Kind.DECISION, record, at_s=self._clock.wall_s(), epoch=self._book.epoch, note=explanation.text
        )
        return explanation

    def _write(self, kind: Kind, record: EndpointRecord, note: str) -> None:
        """Puts a record on disk, then into force."""
        self._journal.append(kind, record, at_s=self._clock.wall_s(), epoch=self._book.epoch + 1, note=note)
        self._records[record.endpoint] = record
        log.info("%s: %s %s", record.endpoint, kind.value, note)
        if self._events is not None:
            self._events.emit(messages.event(kind.value, record, self._book.epoch + 1, self._clock.wall_s(), note))
        self._publish()

    def _follow(self, record: EndpointRecord) -> None:
        """What comes after a transition: the judge's next step, or the next rollout."""
        match record.rollout.state:
            case canary.Shadowing() | canary.Stepping() | canary.Baking():
                self._judges.enter_step(record, self._clock.monotonic_s())
            case canary.RolledBack():
                self._make_way(record)
            case _:
                pass

    def _begin_or_queue(self, wish: Queued) -> None:
        record = self._records.get(wish.spec.endpoint)
        if record is None or canary.is_finished(record.rollout.state):
            self._begin(wish)
            return
        reason = f"superseded by {wish.spec.version.version}"
        self._write(Kind.QUEUED, msgspec.structs.replace(record, queued=wish), reason)
        self._make_way(self._records[wish.spec.endpoint])

    def _make_way(self, record: EndpointRecord) -> None:
        """Rolls back for the sake of a queued rollout, or begins it once that is done."""
        if record.queued is None or isinstance(record.rollout.state, canary.RollingBack | canary.Draining):
            return
        if canary.is_finished(record.rollout.state):
            self._begin(record.queued)
        else:
            self._abort(record, f"superseded by {record.queued.spec.version.version}")

    def _begin(self, wish: Queued) -> None:
        endpoint = wish.spec.endpoint
        now_s = self._clock.monotonic_s()
        record = records.begun(
            self._records.get(endpoint),
            wish.spec,
            salt=self._new_salt(),
            is_direct=wish.is_direct,
            at_s=self._clock.wall_s(),
            now_s=now_s,
        )
        self._watch.end(endpoint)
        self._unacknowledged.pop(endpoint, None)
        self._write(Kind.CREATED, record, record.rollout.message)
        self._step(endpoint, self._ticked(record, now_s))

    def _abort(self, record: EndpointRecord, reason: str) -> None:
        stable = record.rollout.stable
        capacity = self._capacity(stable) if stable else Capacity()
        self._step(record.endpoint, canary.Abort(self._clock.monotonic_s(), reason, capacity))

    def _go_back(self, record: EndpointRecord, command: RolloutCommand) -> None:
        """Back to stable while a rollout runs; afterwards to an earlier version, as a rollout straight to it."""
        stable = records.stable_version(record)
        is_running = not canary.is_finished(record.rollout.state)
        if is_running and (command.to is None or (stable and command.to == stable.version)):
            self._abort(record, f"rolled back by {command.who}")
            return
        to = command.to or record.previous
        version = self._journal.version(record.endpoint, to) if to else None
        if version is None:
            known = ", ".join(self._journal.versions(record.endpoint))
            what = f"version {to} was never deployed to" if to else "no earlier version is known for"
            raise UnknownVersionError(f"{what} {record.endpoint}", remedy=f"known versions: {known}")
        if stable is not None and version.app_name == stable.app_name:
            raise ConflictError(f"version {to} serves {record.endpoint} already", remedy="name another version")
        analysis = record.rollout.spec.analysis
        self._begin_or_queue(Queued(RolloutSpec(record.endpoint, version, (FULL_BP,), analysis), is_direct=True))

    # ---- Table and books -----------------------------------------------------------------------------------------

    def _publish(self, *, is_forced: bool = False) -> None:
        """Publishes the table if it differs from the one in force; its epoch is on disk first."""
        if self._is_recovering and not self._has_recovered():
            return
        self._is_recovering = False
        endpoints = routing.endpoints(self._records, self._register)
        self._book.publish(endpoints, routing.hosted(self.wanted()), is_forced=is_forced)

    def _has_recovered(self) -> bool:
        silent_s = self._clock.monotonic_s() - self._started_s
        shares = [share for record in self._records.values() for share in records.shares(record) if share.weight_bp]
        # Gateways learn from the table what to host, and use what they host whatever the table lists.
        served = [share.version for share in shares if share.version.placement is Placement.REPLICAS]
        capacities = [self._capacity(version) for version in served]
        if all(capacity.is_full for capacity in capacities) or silent_s >= RECOVERY_S:
            return True
        return silent_s >= PARTIAL_RECOVERY_S and all(capacity.ready for capacity in capacities)

    def _arms(self, endpoint: str) -> Arms | None:
        record = self._records.get(endpoint)
        return analyses.arms(record) if record is not None else None

    def _capacity(self, version: VersionSpec) -> Capacity:
        gateways = self._watch.gateways(self._clock.monotonic_s())
        return routing.capacity(version, self._register, num_gateways=len(gateways))

    def _record(self, endpoint: str) -> EndpointRecord:
        record = self._records.get(endpoint)
        if record is None:
            known = ", ".join(sorted(self._records)) or "none"
            raise UnknownVersionError(f"no endpoint {endpoint!r}", remedy=f"endpoints: {known}")
        return record

    def _status_of(self, record: EndpointRecord) -> RolloutStatus:
        judge = self._watch.judge(record.endpoint)
        served = records.stable_version(record)
        return records.status(
            record,
            self._book.table.epoch,
            judge.evidence() if judge else Evidence(),
            judge.judgement(self._clock.monotonic_s()) if judge else Judgement(),
            self._capacity(served) if served else Capacity(),
            self._capacity(record.rollout.spec.version),
        )
