"""The controller as a detached, named Ray actor that restarts for ever.

Arguments and results are bytes written by msgspec: msgpack for the data plane, JSON for what people send and read. So
no call depends on pickled classes, and callers of another release fail with a clear message.

Ray retries no call here. Replicas and gateways repeat theirs anyway. A command that was carried out just before the
actor died must not be carried out twice.

What needs the journal's database is imported where it runs: a process that only starts the actor does without.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec
import ray

from divisions.access.audit_file import AuditFile
from divisions.access.requests import Actor, TokenCommand
from divisions.artifacts.references import References
from divisions.certificates.names import AUTHORITY
from divisions.clock import SystemClock
from divisions.control import ReplicaAddress, RolloutCommand, RolloutSpec, RoutingTable, VersionSpec
from divisions.deployment import deployment_of, enter_node, read_deployment, write_node
from divisions.errors import (
    ClusterError,
    JournalFencedError,
    JournalUnavailableError,
    MalformedRequestError,
)
from divisions.links import links_of
from divisions.logs.json_lines import log_to
from divisions.policy.opening import open_engine
from divisions.promotion import ApprovalCommand
from divisions.reports import GatewayReport
from divisions.settings import Settings
from router.control import curve_files
from router.control.applications import Reconciler
from router.control.certificates import CertificateDesk
from router.control.curve_files import CurveFiles
from router.control.drift_files import DriftFiles, keep
from router.control.event_log import EventFile
from router.control.house_keeper import HouseKeeper
from router.control.inventory_keeper import InventoryKeeper, sources
from router.control.node_keeper import NodeKeeper
from router.control.policy_desk import PolicyDesk
from router.control.ray_applications import RayApplications
from router.control.ray_checks import this_process
from router.control.ray_hold import RayHold
from router.control.ray_members import RayNodes, obtain_deployment
from router.control.ray_nodes import see_cluster
from router.control.registry_projection import MlflowProjection, Projector
from router.control.rollout_traces import rollout_traces_of
from router.evidence.drift import InputBins, parse_bins

if TYPE_CHECKING:
    from router.control.controller import Controller
    from router.journal.journal import Journal

log = logging.getLogger(__name__)

APPLICATION_BUILDER = "serving.replica.ray_app:build_application"
GATEWAY_BUILDER = "router.gateway.ray_gateway:build_application"
TICK_S = 1.0
COMPARE_S = 3.0
"""How often Serve is asked what runs while nothing has changed. A new version is started at once."""
WAKE_S = 0.2
RETRY_S = 1.0
"""How often a controller that was started again looks whether the journal answers."""
ENTER_S = 3.0
"""How long a controller that may run anywhere waits on a node that was not prepared."""
MAX_CONCURRENCY = 10_000
"""Every gateway keeps one long poll open, and Ray counts it as a running call."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class ControllerActor:
    """`router.control.controller.Controller` behind Ray calls, with the loops that drive it."""

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, home: str, builder: str, stamp: str, *, is_anywhere: bool
    ) -> None:
        logging.getLogger("router").setLevel(logging.INFO)
        settings = await asyncio.to_thread(_entered, home, stamp, is_anywhere=is_anywhere)
        log_to(settings.home, "controller")
        self._clock = SystemClock()
        self._certificates = CertificateDesk(settings.home / AUTHORITY, self._clock)
        self._encoded: tuple[RoutingTable | None, bytes] = (None, b"")
        self._settings = settings
        self._references = References(settings, self._clock)
        self._engine = open_engine(settings, self._clock)
        self._traces = rollout_traces_of(settings)
        self._policy = PolicyDesk(self._engine)
        self._drift_files = DriftFiles(settings.home / "drift")
        self._curve_files = CurveFiles(settings.home / "curves")
        self._inventory = InventoryKeeper(sources(settings, self._clock), self._clock)
        journal, self._controller = await self._opened()
        self._deployment = read_deployment(settings.home) or deployment_of(settings)
        write_node(settings.home, self._deployment, {})  # if nobody did: gateways and replicas wait for it
        applications = RayApplications(builder, home, self._deployment.stamp)
        node_id = ray.get_runtime_context().get_node_id()
        self._keeper = NodeKeeper(settings, self._deployment, RayNodes(self._deployment, GATEWAY_BUILDER), node_id)
        self._reconciler = Reconciler(applications, journal.app_names())
        self._projector = Projector(MlflowProjection(settings))
        self._house = HouseKeeper(
            self._controller,
            self._inventory,
            lambda status: self._keeper.rows(status.replicas),
            self._clock,
            links_of(settings),
            settings.public_sections,
        )
        keep_drift = partial(keep, self._drift_files, self._controller.drift_watch)
        keep_curves = partial(curve_files.keep, self._curve_files, self._controller.chronicle)
        keepers = self._keeper.run, self._inventory.run, keep_drift, keep_curves
        loops = (self._tick, self._reconcile, self._project, self._copy, self._hold_room, self._ask_policy, *keepers)
        self._tasks = [asyncio.create_task(work()) for work in loops]

    async def _opened(self) -> tuple[Journal, Controller]:
        """The journal and the controller on it.

        Ray gives an actor up whose first steps fail. A controller that was started again waits instead, until the
        journal answers; meanwhile gateways serve by the table that they have.
        """
        from router.journal.journal import Journal
        from router.journal.opening import database_of

        holder = this_process(ray.get_runtime_context().get_session_name())
        last = ""
        while True:
            try:
                journal = await asyncio.to_thread(partial(Journal, database_of(self._settings), holder=holder))
                try:
                    return journal, self._started(journal)
                except BaseException:
                    journal.close()
                    raise
            except (JournalUnavailableError, JournalFencedError) as error:
                if not ray.get_runtime_context().was_current_actor_reconstructed:
                    raise
                if str(error) != last:
                    last = str(error)
                    log.warning("waiting for the journal: %s", error)
            await asyncio.sleep(RETRY_S)

    def _started(self, journal: Journal) -> Controller:
        from router.control.controller import Controller
        from router.control.notices import Notices
        from router.control.token_stores import token_store_of

        events = EventFile(self._settings.home / "logs" / "rollouts.jsonl")
        self._notices = notices = Notices(self._settings, self._clock, events)
        controller = Controller(
            journal,
            self._clock,
            lambda: secrets.token_hex(8),
            allow_faults=self._settings.allow_faults,
            read_bins=self._read_bins,
            events=notices,
            token_store=token_store_of(self._settings),
            audit=AuditFile(self._settings.home),
            on_drift=notices.drifted,
            registered=lambda: self._inventory.fact("registered"),
            bundles=self._settings.artifacts,
            environment=self._settings.environment,
            image=self._settings.image,
            has_engine=self._engine is not None,
            on_over=self._traces.over,
        )
        controller.start()
        notices.catch_up(journal, controller.records)
        controller.drift_watch.restore(self._drift_files.read())
        controller.chronicle.restore(self._curve_files.read())
        return controller

    async def register_replica(self, address: bytes) -> bool:
        return self._controller.register_replica(msgspec.msgpack.decode(address, type=ReplicaAddress))

    async def replicas_lost(self, replica_ids: bytes) -> None:
        lost = msgspec.msgpack.decode(replica_ids, type=tuple[str, ...])
        reported_s = self._clock.monotonic_s()
        while (wait_s := self._controller.replicas_lost(lost, reported_s)) > 0:
            await asyncio.sleep(wait_s)

    async def issue_certificate(self, request: bytes) -> bytes:
        return self._certificates.issue(request)

    async def leave_replica(self, replica_id: str) -> None:
        self._controller.replica_leaves(replica_id)

    async def report(self, report: bytes) -> bytes:
        return self._controller.take_report(msgspec.msgpack.decode(report, type=GatewayReport))

    async def poll_table(self, known_epoch: int, timeout_s: float, known_access: bytes | None = None) -> bytes:
        stamp = None if known_access is None else known_access.decode()
        table = await self._controller.poll_table(known_epoch, timeout_s, stamp)
        if table is not self._encoded[0]:  # All gateways wait for the same table, so it is encoded once.
            self._encoded = (table, msgspec.msgpack.encode(table))
        return self._encoded[1]

    async def reference(self, bundle_sha256: bytes) -> bytes:
        """The ``reference.json`` of a wanted version, for gateways without its bundle; empty until it is here."""
        sha256 = bundle_sha256.decode()
        for version in self._controller.wanted().values():
            if version.bundle_sha256 == sha256:
                return self._references.get(version.bundle_path, sha256)
        return b""

    async def status(self) -> bytes:
        status = self._controller.status()
        nodes, inventory = self._keeper.rows(status.replicas), self._inventory.inventory(self._controller.cluster)
        notices = self._notices.counts()
        fault = self._engine.fault if self._engine is not None else ""
        whole = msgspec.structs.replace(
            status, nodes=nodes, inventory=inventory, notices=notices, policy_fault=fault, spans=self._traces.counts()
        )
        return msgspec.json.encode(whole)

    async def house(self, known: bytes) -> bytes:
        """The sections of the house that a gateway lacks."""
        return msgspec.msgpack.encode(self._house.lacking(msgspec.json.decode(known, type=dict[str, str])))

    async def drift(self, endpoint: bytes) -> bytes:
        return msgspec.json.encode(self._controller.drift(endpoint.decode()))

    async def nodes(self) -> bytes:
        """The nodes of the status, for `up`: it asks before there is a gateway."""
        return msgspec.json.encode(self._keeper.rows(self._controller.status().replicas))

    async def leave_node(self, node_id: str) -> None:
        """A node is about to leave: its gateways finish, and it gets no others."""
        self._keeper.leave(node_id)

    async def deployment(self) -> bytes:
        """What is deployed, and the secrets that all nodes share: for another `up` onto this cluster."""
        return msgspec.msgpack.encode((self._deployment, self._keeper.secrets()))

    async def command(self, command: bytes, actor: bytes = b"") -> bytes:
        asked, who = parsed(command, RolloutCommand), parsed(actor, Actor) if actor else None
        if asked.command == "scale":
            await self._see_cluster()
        barred = await self._policy.objection(asked.command, who, asked.endpoint)
        return msgspec.json.encode(self._controller.command(asked, who, barred=barred))

    async def start_rollout(self, spec: bytes, force: bool = False, actor: bytes = b"") -> bytes:
        asked, who = parsed(spec, RolloutSpec), parsed(actor, Actor) if actor else None
        barred = await self._policy.objection("start by force" if force else "start", who, asked.endpoint)
        return msgspec.json.encode(self._controller.start_rollout(asked, force=force, actor=who, barred=barred))

    async def manage_tokens(self, command: bytes, actor: bytes) -> bytes:
        asked, who = parsed(command, TokenCommand), parsed(actor, Actor)
        barred = "" if asked.verb == "list" else await self._policy.objection("tokens", who)
        return msgspec.json.encode(self._controller.manage_tokens(asked, who, barred=barred))

    async def manage_approvals(self, command: bytes, actor: bytes) -> bytes:
        who = parsed(actor, Actor)
        asked, about = self._controller.approvals.pinned(parsed(command, ApprovalCommand))
        endpoint = asked.approve.endpoint if asked.approve is not None else ""
        barred = await self._policy.objection("approve", who, endpoint, about) if about is not None else ""
        return msgspec.json.encode(self._controller.manage_approvals(asked, who, barred=barred))

    async def ping(self) -> int:
        """The present epoch. It answers as soon as the journal is replayed."""
        return self._controller.table.epoch

    def _read_bins(self, version: VersionSpec) -> InputBins:
        return parse_bins(self._references.get(version.bundle_path, version.bundle_sha256))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self._controller.tick()
            except Exception:
                log.exception("a tick failed")  # The edge of a loop: the next tick sees the same state again.
            if self._controller.is_fenced:
                log.error("another controller has taken over: this one ends")
                end_process()

    async def _ask_policy(self) -> None:
        while True:
            try:
                await self._policy.ask(self._controller.gates, self._controller.records)
            except Exception:
                log.exception("the policy could not be asked")  # The edge of a loop: without an answer nothing passes.
            await asyncio.sleep(TICK_S)

    async def _reconcile(self) -> None:
        last: dict[str, VersionSpec] | None = None
        compared_s = 0.0
        while True:
            wanted = self._controller.told()
            if wanted != last or self._clock.monotonic_s() - compared_s >= COMPARE_S:
                last, compared_s = wanted, self._clock.monotonic_s()
                await self._see_cluster()
                try:
                    self._controller.applications_stopped(await self._reconciler.reconcile(wanted))
                    self._controller.applications_failed(self._reconciler.failures, self._reconciler.reasons)
                except Exception:
                    log.exception("Ray Serve could not be asked what runs")  # The edge of a loop: tried again.
            await asyncio.sleep(WAKE_S)

    async def _hold_room(self) -> None:
        moves, hold = self._controller.moves, RayHold()
        while True:
            wanted, is_waiting = moves.hold, moves.is_waiting_for_room
            try:
                is_held = await asyncio.to_thread(hold.set, wanted)
            except Exception as error:  # noqa: BLE001  # replicas that are not spread are no reason to stop
                log.warning("no room could be held or released: %s", error)
                is_held = False
                await asyncio.sleep(RETRY_S)
            if is_waiting and wanted == moves.hold:
                moves.held(is_held=is_held)
            await asyncio.sleep(WAKE_S)

    async def _see_cluster(self) -> None:
        try:
            self._controller.cluster_seen(await asyncio.to_thread(see_cluster))
        except Exception as error:  # noqa: BLE001  # what the cluster has room for is advice, and nothing waits for it
            log.warning("the cluster's nodes could not be asked for: %s", error)
            self._controller.cluster_seen(None)

    async def _copy(self) -> None:
        from router.journal.copies import COPY_S, make_copy
        from router.journal.opening import database_of

        database = database_of(self._settings)
        while True:
            try:
                await asyncio.to_thread(make_copy, database)
            except Exception:
                log.exception("the journal could not be copied")  # The edge of a loop: tried again.
            await asyncio.sleep(COPY_S)

    async def _project(self) -> None:
        while True:
            await self._projector.project(self._controller.production(), self._clock.monotonic_s())
            await asyncio.sleep(TICK_S)


def parsed(data: bytes, kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(f"not a {kind.__name__}: {error}", remedy="send what the API describes") from None


def end_process() -> None:
    """At once: what is under way must not go on. Ray starts the actor again if it still wants this one."""
    os._exit(1)


def _entered(home: str, stamp: str, *, is_anywhere: bool) -> Settings:
    """The settings of this node, from other nodes if nobody has prepared it.

    Ray may start a controller again on a node that has just joined, while no other node answers. It must not go on
    there: without the settings it would not know the database, and begin an empty journal. It ends, and Ray starts it
    again, in time on another node.
    """
    try:
        obtain_deployment(home, stamp)
        return enter_node(home, stamp if is_anywhere else "", ENTER_S)
    except ClusterError as error:
        if ray.get_runtime_context().was_current_actor_reconstructed:
            log.error("%s; this controller ends, and Ray starts it again", error)
            end_process()
        raise
