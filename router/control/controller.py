"""The controller without Ray: it owns the journal, the rollouts and the routing table. One thread, one event loop.

Three things reach it, each with a file of its own:

- reports of gateways and heartbeats of replicas: here;
- commands: `router.control.command_desk`, and of rollouts `router.control.commands`;
- time, once a second: `router.control.ticker`.

All three end in `router.control.driver`, which writes every decision to the journal before it carries it out.
`router.control.publisher` gives out the routing table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from divisions.access.requests import Actor, TokenAnswer, TokenCommand
from divisions.access.store import TokenStore
from divisions.clock import Clock
from divisions.control import ReplicaAddress, RolloutCommand, RolloutSpec, RoutingTable, VersionSpec
from divisions.drift import DriftAlert, DriftReport
from divisions.errors import ReportError
from divisions.policy.image import image_fact
from divisions.promotion import ApprovalAnswer, ApprovalCommand
from divisions.reports import GatewayReport
from divisions.status import ControllerStatus, RollbackCount, RolloutStatus
from router.control import routing, version_scales
from router.control.analyses import Analyses
from router.control.approval_desk import ApprovalDesk
from router.control.audit_desk import AuditDesk, AuditSink
from router.control.chronicle import Chronicle
from router.control.command_desk import CommandDesk
from router.control.commands import Commands
from router.control.drift_watch import DriftWatch
from router.control.driver import RolloutDriver
from router.control.endpoints import Endpoints
from router.control.event_log import EventSink
from router.control.gate_desk import GateDesk, Registered, Sources
from router.control.limit_shares import LimitSharing
from router.control.log_totals import LogTotals
from router.control.lost_replicas import LostReplicas
from router.control.publisher import TablePublisher
from router.control.replica_register import ReplicaRegister
from router.control.sizing import Sizing
from router.control.spreading import Spreading
from router.control.table_store import TableStore
from router.control.ticker import Ticker
from router.control.token_desk import TokenDesk
from router.evidence.drift import NO_BINS, InputBins
from router.evidence.windows import ClosedTick
from router.journal.journal import Journal
from router.journal.writer import JournalWriter
from router.rollouts import records
from router.rollouts.canary import Judgement
from router.rollouts.monitor import Monitor
from router.rollouts.records import EndpointRecord
from router.rollouts.status import status as status_of
from router.scaling.moves import Moves
from router.scaling.placement import Cluster

log = logging.getLogger(__name__)


class Controller:
    """Takes registrations, reports and commands; gives out routing tables. `start` comes first.

    Args:
        journal: opened; replayed by `start`.
        clock: the time.
        new_salt: makes the salt of a new rollout; a fresh one puts other customers first each time.
        allow_faults: whether versions may ask for fault injection.
        read_bins: reads the bins of a version's training data, for the alert on drift.
        events: told of every transition.
        token_store: keeps the tokens of principals. Without one there are none, beside the home's own.
        audit: takes who asked for what.
        on_drift: told of new alerts, with their endpoints.
        registered: the registry's versions as they were last read; None while they were not.
        bundles: the address of their store, for policies.
        environment: of the cluster, for policies.
        image: that serves, for policies.
        has_engine: whether an engine of policies is asked: see `GateDesk`.
        on_over: told of each rollout that has ended, with its last record.
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
        token_store: TokenStore | None = None,
        audit: AuditSink | None = None,
        on_drift: Callable[[str, DriftAlert], None] = lambda endpoint, alert: None,
        registered: Registered = lambda: None,
        bundles: str = "",
        environment: str = "",
        image: str = "",
        has_engine: bool = False,
        on_over: Callable[[EndpointRecord], None] = lambda record: None,
    ) -> None:
        self._clock = clock
        self._on_drift = on_drift
        self._register = register = ReplicaRegister()
        self._monitor = monitor = Monitor(self._closed)
        self._lost = LostReplicas()
        self._endpoints = endpoints = Endpoints(register, monitor, clock)
        self._writer = writer = JournalWriter(journal, clock)
        self._store = store = TableStore(writer)
        self._publisher = publisher = TablePublisher(store, endpoints, register, clock)
        self._analyses = analyses = Analyses(journal, writer, monitor, read_bins)
        self._limit_shares = LimitSharing()
        self._sizing = sizing = Sizing(endpoints, monitor, clock)
        self._spreading = Spreading(endpoints, register)
        self.drift_watch = DriftWatch(clock, read_bins, lambda: endpoints.records)
        sources = Sources(registered, self.drift_watch.summaries, bundles, environment, image_fact(image))
        self.gates = gates = GateDesk(clock, sources, has_engine=has_engine)
        self._driver = driver = RolloutDriver(
            journal, writer, endpoints, monitor, analyses, publisher, store, sizing, gates, clock, new_salt, events
        )
        driver.over = on_over
        self.approvals = ApprovalDesk(driver, endpoints, gates, clock)
        self._commands = Commands(driver, endpoints, journal, writer, clock, allow_faults=allow_faults)
        self._ticker = Ticker(driver, writer, endpoints, publisher, register, monitor, analyses, clock)
        self._audit = AuditDesk(audit, clock)
        self._tokens = TokenDesk(token_store, clock, store.grant) if token_store is not None else None
        self._desk = CommandDesk(self._commands, self.approvals, self._tokens, self._audit, endpoints)
        self._logged = LogTotals()
        self.chronicle = Chronicle(clock, lambda: endpoints.records, analyses.evidence)
        self._started_at_s = clock.wall_s()
        self._restarts = 0
        self._reasons: dict[str, str] = {}

    def start(self) -> None:
        """Notes the start in the journal and goes on where an earlier controller stopped."""
        self._restarts = self._writer.count_start() - 1
        self._driver.resume()

    # ---- Reports -------------------------------------------------------------------------------------------------

    def register_replica(self, address: ReplicaAddress) -> bool:
        """A warm replica's heartbeat; returns whether it is asked to go, because its node has too many."""
        self._lost.heard(address.replica_id, self._clock.monotonic_s())
        if self._register.heartbeat(address):
            self._publisher.publish()
        return self.moves.is_asked_to_go(address.replica_id)

    def replicas_lost(self, replica_ids: Sequence[str], reported_s: float) -> float:
        """A gateway has lost its channels to these replicas; those that are silent as well leave the table.

        Returns:
            After how many seconds to call again, with the same ``reported_s``; 0 for never.
        """
        lost, wait_s = self._lost.judge(replica_ids, reported_s, self._clock.monotonic_s())
        if [replica_id for replica_id in lost if self._register.lose(replica_id)]:
            log.warning("%d replicas are gone: gateways have lost them, and they send no heartbeats", len(lost))
            self._publisher.publish()
        return wait_s

    def replica_leaves(self, replica_id: str) -> None:
        """A replica is about to stop: gateways send it nothing more, and it finishes what it has."""
        self.moves.left(replica_id)
        if self._register.leave(replica_id):
            self._publisher.publish()

    def cluster_seen(self, cluster: Cluster | None) -> None:
        """The cluster's nodes, as of now; None if they cannot be asked for."""
        self._commands.cluster = self._driver.cluster = cluster

    def take_report(self, report: GatewayReport) -> bytes:
        """A gateway's report, as `report`; returns its parts of the limits of principals, packed."""
        self.report(report)
        shares = self._limit_shares.report(report.gateway_id, report.asked, self._clock.monotonic_s())
        return msgspec.msgpack.encode(shares)

    def report(self, report: GatewayReport) -> bool:
        """A gateway's report of one second; returns whether it counted. A senseless one is logged and left out."""
        now_s = self._clock.monotonic_s()
        self._audit.refused(report.gateway_id, report.refused)
        try:
            is_counted, tripped = self._monitor.report(report, now_s, self._endpoints.arms)
        except ReportError as error:
            log.warning("gateway %s: %s", report.gateway_id, error)
            return False
        self._sizing.report(report)
        self._logged.report(report, now_s)
        if self._tokens is not None:
            self._tokens.used(report.token_uses)
        if is_counted:
            self.drift_watch.report(report)
        # A second that is complete is judged at once: the next tick may be a whole second away.
        judged = self._monitor.close_ticks(now_s, self._endpoints.arms) if is_counted else 0
        if not self._publisher.is_recovering:
            for endpoint in list(self._endpoints.records) if judged else tripped:
                self._driver.tick(endpoint, now_s)
        return is_counted

    def _closed(self, tick: ClosedTick) -> None:
        self.chronicle.closed(tick)

    def applications_failed(self, failures: Mapping[str, str], reasons: Mapping[str, str] | None = None) -> None:
        """Why wanted applications cannot run, by name, as of now; ``reasons`` also of those that are tried again."""
        self._driver.deploy_failures = dict(failures)
        self._reasons = dict(reasons or {})

    def applications_stopped(self, app_names: list[str]) -> None:
        for app_name in app_names:
            self._register.forget(app_name)

    # ---- Commands ------------------------------------------------------------------------------------------------

    def manage_tokens(self, command: TokenCommand, actor: Actor, *, barred: str = "") -> TokenAnswer:
        """See `CommandDesk.manage_tokens`; ``barred`` as in `command`."""
        return self._desk.manage_tokens(command, actor, barred=barred)

    def start_rollout(
        self, spec: RolloutSpec, *, force: bool = False, actor: Actor | None = None, barred: str = ""
    ) -> RolloutStatus:
        """Begins a rollout, see `Commands.start_rollout`; ``barred`` as in `command`."""
        self._desk.start_rollout(spec, actor, force=force, barred=barred)
        return self._status_of(self._endpoints.records[spec.endpoint])

    def command(self, command: RolloutCommand, actor: Actor | None = None, *, barred: str = "") -> RolloutStatus:
        """Carries out a command of ``actor``, see `Commands.command`.

        Raises:
            AccessDeniedError: the policy refuses it; ``barred`` says why, and is empty otherwise.
        """
        self._desk.command(command, actor, barred=barred)
        return self._status_of(self._endpoints.records[command.endpoint])

    def manage_approvals(self, command: ApprovalCommand, actor: Actor, *, barred: str = "") -> ApprovalAnswer:
        """See `CommandDesk.manage_approvals`; ``barred`` as in `command`."""
        return self._desk.manage_approvals(command, actor, barred=barred)

    # ---- Once a second -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        now_s = self._clock.monotonic_s()
        self._lost.prune(now_s)
        self._ticker.tick()
        if self._tokens is not None:
            self._tokens.note_uses()
        self._audit.flush()
        self.chronicle.tick()
        for endpoint, alert in self.drift_watch.tick():
            self._on_drift(endpoint, alert)
        if not self._publisher.is_recovering:
            self._spreading.step(self._driver.cluster, now_s)

    # ---- What others read ----------------------------------------------------------------------------------------

    async def poll_table(self, known_epoch: int, timeout_s: float, known_access: str | None = None) -> RoutingTable:
        """The table, at once if it is newer than the caller's, else when it changes; see `TableStore.newer`."""
        self.check_epoch(known_epoch)
        return await self._store.newer(known_epoch, timeout_s, known_access)

    def check_epoch(self, known_epoch: int) -> None:
        """Takes the epoch of a gateway's table. A foreign one means that the journal is behind."""
        if self._store.is_foreign(known_epoch):
            self._driver.distrust_journal(known_epoch)
            self._publisher.publish(is_forced=True)  # Gateways take only epochs above the one that they have.

    def wanted(self) -> dict[str, VersionSpec]:
        """The versions whose replicas should run, by application name."""
        return self._endpoints.wanted()

    def told(self) -> dict[str, VersionSpec]:
        """What Ray Serve is told to run: the same, with one more replica of a version that is being moved."""
        return self._spreading.told(self.wanted())

    @property
    def moves(self) -> Moves:
        """What goes on to spread replicas over nodes."""
        return self._spreading.moves

    def production(self) -> dict[str, VersionSpec]:
        """The version that serves, by model."""
        return self._endpoints.production()

    def status(self) -> ControllerStatus:
        all_records = self._endpoints.records.values()
        now_s = self._clock.wall_s()
        return ControllerStatus(
            epoch=self._store.table.epoch,
            replicas=routing.replica_statuses(all_records, self.wanted(), self._register, now_s, self._reasons),
            rollouts=tuple(self._status_of(record) for record in all_records),
            gateways=tuple(sorted(self._monitor.gateways(self._clock.monotonic_s()))),
            started_at_s=self._started_at_s,
            restarts=self._restarts,
            rollbacks=tuple(RollbackCount(*key, count) for key, count in sorted(self._driver.rollbacks.items())),
            journal_fault=self._writer.fault,
            unwritten=self._writer.num_kept,
            scales=version_scales.rows(
                all_records,
                self.wanted(),
                self._register,
                self._driver.cluster,
                self._spreading.notes(self._sizing.notes()),
            ),
            drift=self.drift_watch.summaries(),
            logged=self._logged.totals(),
        )

    def drift(self, endpoint: str = "") -> DriftReport:
        """See `DriftWatch.drift`."""
        return DriftReport(self.drift_watch.drift(endpoint))

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        """What is remembered of every endpoint, by its name."""
        return self._endpoints.records

    @property
    def cluster(self) -> Cluster | None:
        """The cluster's nodes as they were last seen."""
        return self._driver.cluster

    @property
    def table(self) -> RoutingTable:
        return self._store.table

    @property
    def is_fenced(self) -> bool:
        """Whether another controller has taken the journal over. Then this one must end."""
        return self._writer.is_fenced

    @property
    def is_recovering(self) -> bool:
        return self._publisher.is_recovering

    def _status_of(self, record: EndpointRecord) -> RolloutStatus:
        analysis = self._monitor.analysis(record.endpoint)
        status = status_of(
            record,
            self._store.table.epoch,
            self._analyses.evidence(record),
            analysis.judgement(self._clock.monotonic_s()) if analysis else Judgement(),
            self._endpoints.capacity(records.stable_version(record)),
            self._endpoints.capacity(record.rollout.spec.version),
            self.gates.status(record),
        )
        unwritten = self._writer.fault if self._writer.is_kept(record.endpoint) else ""
        return msgspec.structs.replace(status, unwritten=unwritten)
