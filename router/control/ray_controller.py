"""The controller as a detached, named Ray actor that restarts for ever.

Arguments and results are bytes written by msgspec: msgpack for the data plane, JSON for what people send and read. So
no call depends on pickled classes, and callers of another release fail with a clear message.

Ray retries no call here. Replicas and gateways repeat theirs anyway. A command that was carried out just before the
actor died must not be carried out twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import ray

from divisions.artifacts.references import References
from divisions.clock import SystemClock
from divisions.control import ReplicaAddress, RolloutCommand, RolloutSpec, VersionSpec
from divisions.errors import MalformedRequestError
from divisions.reports import GatewayReport
from divisions.settings import Settings, is_routable
from router.control.applications import Reconciler
from router.control.certificates import CertificateDesk
from router.control.controller import Controller
from router.control.event_log import EventFile
from router.control.journal import Journal
from router.control.journal_copies import COPY_S, make_copy
from router.control.journal_file import check_before_start
from router.control.ray_applications import RayApplications
from router.control.registry_projection import Projector
from router.evidence.drift import InputBins, parse_bins

log = logging.getLogger(__name__)

CONTROLLER_NAME = "divisions-controller"
NAMESPACE = "divisions"
APPLICATION_BUILDER = "serving.replica.ray_app:build_application"
TICK_S = 1.0
COMPARE_S = 3.0
"""How often Serve is asked what runs while nothing has changed. A new version is started at once."""
WAKE_S = 0.2
MAX_CONCURRENCY = 1_000
"""Every gateway keeps one long poll open, and Ray counts it as a running call."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class MlflowProjection:
    """Production aliases in MLflow. Imports it on first use, in the thread that waits for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry: Any = None

    def set_production(self, version: VersionSpec) -> None:
        if not version.registry_version:
            return  # Deployed from a bundle that was never registered.
        if self._registry is None:
            from divisions.registry import Registry

            self._registry = Registry(self._settings.home, self._settings.tracking_uri)
        self._registry.set_production(version.model, version.registry_version)


class ControllerActor:
    """`router.control.controller.Controller` behind Ray calls, with the loops that drive it."""

    async def __init__(self, settings: Settings, builder: str, authority: bytes = b"") -> None:  # type: ignore[misc]  # Ray awaits it
        logging.getLogger("router").setLevel(logging.INFO)
        self._clock = SystemClock()
        self._certificates = CertificateDesk(authority, self._clock)
        self._journal_path = settings.home / "journal.db"
        journal = Journal(self._journal_path)
        self._references = References(settings, self._clock)
        self._controller = Controller(
            journal,
            self._clock,
            lambda: secrets.token_hex(8),
            allow_faults=settings.allow_faults,
            read_bins=self._read_bins,
            events=EventFile(settings.home / "logs" / "rollouts.jsonl"),
        )
        self._controller.start()
        applications = RayApplications(builder, str(settings.home))
        self._reconciler = Reconciler(applications, journal.app_names())
        self._projector = Projector(MlflowProjection(settings))
        self._tasks = [asyncio.create_task(work()) for work in (self._tick, self._reconcile, self._project, self._copy)]

    async def register_replica(self, address: bytes) -> None:
        self._controller.register_replica(msgspec.msgpack.decode(address, type=ReplicaAddress))

    async def replicas_lost(self, replica_ids: bytes) -> None:
        lost = msgspec.msgpack.decode(replica_ids, type=tuple[str, ...])
        reported_s = self._clock.monotonic_s()
        while (wait_s := self._controller.replicas_lost(lost, reported_s)) > 0:
            await asyncio.sleep(wait_s)

    async def issue_certificate(self, request: bytes) -> bytes:
        return self._certificates.issue(request)

    async def report(self, report: bytes) -> None:
        self._controller.report(msgspec.msgpack.decode(report, type=GatewayReport))

    async def poll_table(self, known_epoch: int, timeout_s: float) -> bytes:
        return msgspec.msgpack.encode(await self._controller.poll_table(known_epoch, timeout_s))

    async def reference(self, bundle_sha256: bytes) -> bytes:
        """The ``reference.json`` of a wanted version, for gateways without its bundle; empty until it is here."""
        sha256 = bundle_sha256.decode()
        for version in self._controller.wanted().values():
            if version.bundle_sha256 == sha256:
                return self._references.get(version.bundle_path, sha256)
        return b""

    async def status(self) -> bytes:
        return msgspec.json.encode(self._controller.status())

    async def command(self, command: bytes) -> bytes:
        return msgspec.json.encode(self._controller.command(_parsed(command, RolloutCommand)))

    async def start_rollout(self, spec: bytes, force: bool = False) -> bytes:
        return msgspec.json.encode(self._controller.start_rollout(_parsed(spec, RolloutSpec), force=force))

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

    async def _reconcile(self) -> None:
        last: dict[str, VersionSpec] | None = None
        compared_s = 0.0
        while True:
            wanted = self._controller.wanted()
            if wanted != last or self._clock.monotonic_s() - compared_s >= COMPARE_S:
                last, compared_s = wanted, self._clock.monotonic_s()
                try:
                    self._controller.applications_stopped(await self._reconciler.reconcile(wanted))
                    self._controller.applications_failed(self._reconciler.failures, self._reconciler.reasons)
                except Exception:
                    log.exception("Ray Serve could not be asked what runs")  # The edge of a loop: tried again.
            await asyncio.sleep(WAKE_S)

    async def _copy(self) -> None:
        while True:
            try:
                await asyncio.to_thread(make_copy, self._journal_path)
            except Exception:
                log.exception("the journal could not be copied")  # The edge of a loop: tried again.
            await asyncio.sleep(COPY_S)

    async def _project(self) -> None:
        while True:
            await self._projector.project(self._controller.production(), self._clock.monotonic_s())
            await asyncio.sleep(TICK_S)


def _parsed(data: bytes, kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(f"not a {kind.__name__}: {error}", remedy="send what the API describes") from None


def _refuse_damage(journal: Path) -> None:
    """Checks the journal before an actor opens it: from here the error reaches the command whole."""
    try:
        ray.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)
    except ValueError:
        check_before_start(journal)


def _authority(settings: Settings) -> bytes:
    """The authority for the channel between nodes; nothing for a cluster on the loopback interface."""
    addresses = {node["NodeManagerAddress"] for node in ray.nodes()}
    if not settings.channel_tls or not (settings.channel_host or any(is_routable(each) for each in addresses)):
        return b""
    from divisions.certificates.authority_file import obtain_authority  # a cluster on one machine needs none

    return obtain_authority(settings.home, settings.channel_ca, SystemClock().wall_s()).pem


def get_or_create_controller(settings: Settings, builder: str = APPLICATION_BUILDER) -> Any:
    """The controller's actor handle; starts the actor if there is none. Returns when it has replayed its journal.

    It runs on the head node, because its journal is there.

    Args:
        settings: the cluster's settings.
        builder: the function that builds a version's application, ``package.module:function``.
    """
    _refuse_damage(settings.home / "journal.db")
    actor = ray.remote(ControllerActor).options(
        name=CONTROLLER_NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_concurrency=MAX_CONCURRENCY,
        num_cpus=0,
        resources={"node:__internal_head__": 0.001},
    )
    handle = actor.remote(settings, builder, _authority(settings))
    ray.get(handle.ping.remote())
    return handle
