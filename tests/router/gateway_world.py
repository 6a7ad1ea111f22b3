"""A gateway with real sockets on both sides: HTTP to callers, the data channel to replicas. No Ray."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from divisions.access.requests import Actor, TokenAnswer, TokenCommand
from divisions.certificates.authority import Authority, new_authority
from divisions.certificates.names import Credentials, Role
from divisions.certificates.request import new_request
from divisions.clock import SystemClock
from divisions.control import (
    AccessPolicy,
    EndpointRoute,
    OnlinePolicy,
    ReplicaAddress,
    RoutingTable,
    VersionRoute,
    VersionSpec,
)
from divisions.errors import NotRunningError
from divisions.online_store import OnlineStoreReader
from divisions.prediction_log import LogPolicy
from divisions.promotion import ApprovalAnswer, ApprovalCommand
from divisions.reports import EndpointReport, GatewayReport, LimitShares
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import Settings
from router.evidence.drift import FeatureBins, InputBins
from router.gateway.gateway import Gateway, GatewayIdentity
from router.gateway.lifecycle import feature_source
from router.predict.stored_features import FeatureSource, StoredFeatures
from serving.replica.channel_server import ChannelConfig, ChannelServer
from serving.replica.in_process import HostedEngine
from tests.router.listed_replies import check_listed
from tests.serving.function_engine import FunctionEngine

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold")),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)

BINS = InputBins(
    (
        FeatureBins(SCHEMA.features[0], (5, 5, 0), (2.0,), 2.0),
        FeatureBins(SCHEMA.features[1], (9, 1, 0, 0)),
        FeatureBins(SCHEMA.features[2], (9, 1, 0)),
    )
)
"""Of training data: 2 minutes, plan basic, not abroad."""


class FakeLink:
    """A controller in memory: serves the table that it was given, keeps the reports."""

    def __init__(self) -> None:
        self.table = RoutingTable(0)
        self.reports: list[GatewayReport] = []
        self.shares = LimitShares()
        self.registered: set[str] = set()
        self.references: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.is_away = False
        self.status_json = b'{"replicas":[],"rollouts":[{"endpoint":"churn","phase":"STEP"}]}'
        self.status_calls = 0
        self.drift_json = b'{"endpoints":[]}'
        self.drift_asked: list[str] = []
        self.house_sections: dict[str, tuple[str, bytes]] = {}
        self.house_calls = 0
        self.lost: list[str] = []
        self.actors: list[Actor] = []
        self.authority: Authority | None = None
        self.num_issued = 0
        self._changed = asyncio.Event()

    def publish(self, table: RoutingTable) -> None:
        self.table = table
        self._changed.set()

    async def poll_table(self, known_epoch: int, timeout_s: float, known_access: str) -> RoutingTable:
        while self.is_away or (self.table.epoch <= known_epoch and self.table.access.stamp == known_access):
            if self.is_away:
                raise NotRunningError("the controller is away")
            self._changed.clear()
            await self._changed.wait()
        return self.table

    async def report(self, report: GatewayReport) -> LimitShares:
        self.reports.append(report)
        return self.shares

    async def register_replica(self, address: ReplicaAddress) -> None:
        self.registered.add(address.app_name)

    async def reference(self, bundle_sha256: str) -> bytes:
        if self.is_away:
            raise NotRunningError("the controller is away")
        self.asked.append(bundle_sha256)
        return self.references.get(bundle_sha256, b"")

    async def replicas_lost(self, replica_ids: tuple[str, ...]) -> None:
        self.lost += replica_ids

    async def credentials(self, gateway_id: str) -> Credentials:
        if self.is_away or self.authority is None:
            raise NotRunningError("the controller is away")
        asked = new_request(Role.GATEWAY, gateway_id)
        self.num_issued += 1
        return asked.answered(self.authority.issue(asked.message, SystemClock().wall_s()))

    async def start_rollout(self, spec_json: bytes, force: bool, actor: Actor) -> bytes:
        self.actors.append(actor)
        return b'{"phase":"PENDING"}'

    async def command(self, command_json: bytes, actor: Actor) -> bytes:
        self.actors.append(actor)
        return command_json

    async def manage_tokens(self, command: TokenCommand, actor: Actor) -> bytes:
        self.actors.append(actor)
        return msgspec.json.encode(TokenAnswer())

    async def manage_approvals(self, command: ApprovalCommand, actor: Actor) -> bytes:
        self.actors.append(actor)
        return msgspec.json.encode(ApprovalAnswer())

    async def status(self) -> bytes:
        self.status_calls += 1
        if self.is_away:
            raise NotRunningError("the controller is away")
        return self.status_json

    async def house(self, known: Mapping[str, str]) -> bytes:
        self.house_calls += 1
        if self.is_away:
            raise NotRunningError("the controller is away")
        lacking = {name: each for name, each in self.house_sections.items() if known.get(name) != each[0]}
        return msgspec.msgpack.encode(lacking)

    async def drift(self, endpoint: str) -> bytes:
        if self.is_away:
            raise NotRunningError("the controller is away")
        self.drift_asked.append(endpoint)
        return self.drift_json


@dataclasses.dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return msgspec.json.decode(self.body)


class World:
    """One gateway, its link to a controller in memory, and replicas that a test can break."""

    def __init__(self, folder: Path, settings: Settings, channel_token: bytes) -> None:
        self.folder = folder
        self.channel_token = channel_token
        self.settings = settings
        self.link = FakeLink()
        self.port = 0
        self.servers: list[ChannelServer] = []
        self.gateway: Gateway
        self.build: Callable[[], Gateway]
        self.hosted_score: Callable[[np.ndarray], np.ndarray] = minutes_score
        self._threads: list[tuple[asyncio.AbstractEventLoop, threading.Thread]] = []
        self._thread_servers: list[tuple[ChannelServer, asyncio.AbstractEventLoop]] = []
        self._epoch = 0
        self._replicas = 0

    async def replica(
        self,
        version: str,
        score: Callable[[np.ndarray], np.ndarray],
        max_batch: int = 8,
        columns: int = SCHEMA.num_columns,
        over_tcp: bool = False,
        token: bytes | None = None,
    ) -> ReplicaAddress:
        engine = FunctionEngine(columns, score)
        config = ChannelConfig(version, max_batch, self.channel_token if token is None else token)
        server = ChannelServer(engine, config, SystemClock().monotonic_s)
        self._replicas += 1
        path = self.folder / f"{self._replicas}.sock"
        tcp_end = ("127.0.0.1", 0) if over_tcp else None
        tcp = await server.start(None if over_tcp else path, tcp_end, is_encrypted=self.settings.channel_tls)
        self.servers.append(server)
        name = f"churn-predictor-v{version}"
        replica_id = f"{name}-{self._replicas}"
        if over_tcp and self.settings.channel_tls:
            server.install(self.credentials(Role.REPLICA, replica_id))
        return ReplicaAddress(
            replica_id,
            name,
            "there" if over_tcp else "here",
            "" if over_tcp else str(path),
            tcp,
            max_batch,
        )

    def credentials(self, role: Role, identity: str) -> Credentials:
        """A certificate of this world's authority, which is made when it is first needed."""
        self.link.authority = self.link.authority or new_authority(SystemClock().wall_s())
        asked = new_request(role, identity)
        return asked.answered(self.link.authority.issue(asked.message, SystemClock().wall_s()))

    async def thread_replica(self, score: Callable[[np.ndarray], np.ndarray]) -> ReplicaAddress:
        """A replica on a thread and loop of its own. It can hang without the test hanging."""
        loop = uvloop.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        self._threads.append((loop, thread))
        address = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.replica("3.2", score), loop))
        self._thread_servers.append((self.servers.pop(), loop))
        return address

    async def close(self) -> None:
        await self.gateway.stop(0.2)
        for server in self.servers:
            await server.drain(0.2)
        for server, loop in self._thread_servers:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(server.drain(0.2), loop))
        for loop, thread in self._threads:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(120)
            loop.close()

    async def route(
        self,
        stable: list[ReplicaAddress],
        canary: list[ReplicaAddress] | None = None,
        canary_bp: int = 0,
        schema: FeatureSchema = SCHEMA,
        canary_schema: FeatureSchema = SCHEMA,
        channels: int | None = None,
        salt: str = "salt",
        trial_bp: tuple[int, ...] = (),
        mirror_bp: int = 0,
        warmup: tuple[float, int] = (0.0, 0),
        online: OnlinePolicy | None = None,
        log: LogPolicy | None = None,
        access: AccessPolicy | None = None,
        canary_access: AccessPolicy | None = None,
    ) -> None:
        """Publishes a table and waits until the gateway has all its channels, or ``channels`` of them."""
        policies = {"online": online or OnlinePolicy(), "log": log, "access": access or AccessPolicy()}
        versions = [
            VersionRoute(
                msgspec.structs.replace(_spec("3.1", schema), **policies), 10_000 - canary_bp, False, tuple(stable)
            )
        ]
        if canary is not None:
            canary_spec = msgspec.structs.replace(
                _spec("3.2", canary_schema), log=log, access=canary_access or AccessPolicy()
            )
            versions.append(VersionRoute(canary_spec, canary_bp, True, tuple(canary)))
        self._epoch += 1
        self.link.publish(
            RoutingTable(
                self._epoch,
                (EndpointRoute("churn", salt, tuple(versions), trial_bp, mirror_bp, *warmup),),
                access=self.link.table.access,
            )
        )
        expected = len(stable) + len(canary or []) if channels is None else channels
        for _ in range(6_000):
            endpoint = self.gateway.dispatcher.endpoints.get("churn")
            is_current = endpoint is not None and self.gateway.dispatcher.epoch == self._epoch
            if is_current and sum(pool.ready_channels for pool in endpoint.pools) == expected:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the gateway did not connect to every replica")

    async def know_training_data(self, bins: InputBins = BINS) -> None:
        """Has the gateway know the bins of training data, which its versions share."""
        self.link.references[""] = msgspec.json.encode(bins)
        self.gateway._bins._missing.clear()  # its own turn of a second may have asked in vain just before
        self.gateway._bins.read(self.gateway.dispatcher.endpoints["churn"].stable.spec)
        await self.gateway._bins.ask()

    def told(self) -> list[EndpointReport]:
        """All reports that the gateway has sent, and those that it would send at the end of this second."""
        dispatcher = self.gateway.dispatcher
        rest = dispatcher.take_reports(int(SystemClock().monotonic_s()) + 1, 1.0, 0)
        self.link.reports += [GatewayReport("gw", dispatcher.epoch, tick, tuple(each)) for tick, each in rest.items()]
        return [entry for report in self.link.reports for entry in report.endpoints]

    async def raw(self, data: bytes, replies: int = 1) -> list[Reply]:
        """Sends bytes on a new connection; reads ``replies`` replies, or all until the end for 0."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            found: list[Reply] = []
            while replies == 0 or len(found) < replies:
                reply = await asyncio.wait_for(read_reply(reader), 60)
                if reply is None:
                    break
                if not found:
                    check_listed(data, reply.status)
                found.append(reply)
            return found
        finally:
            writer.close()

    async def predict(self, body: object, *headers: str) -> Reply:
        return (await self.raw(post(body, *headers)))[0]


def post(body: object, *headers: str, path: str = "/api/v2/predict/churn") -> bytes:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


async def read_reply(reader: asyncio.StreamReader) -> Reply | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(int(lines[0].split()[1]), headers, body)


def _spec(version: str, schema: FeatureSchema) -> VersionSpec:
    return VersionSpec("churn-predictor", version, "", "", schema, max_batch=8)


def features(minutes: float | None = 1.0, plan: str | None = "gold", abroad: bool | None = True) -> dict:
    return {"minutes": minutes, "plan": plan, "abroad": abroad}


def minutes_score(rows_NF: np.ndarray) -> np.ndarray:
    """A score that depends on its row alone, so that a test can tell which row was answered."""
    return (rows_NF[:, 0] / 1000).astype(np.float32)


@contextlib.asynccontextmanager
async def world(channel_token: bytes = b"", **changes: object) -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="dv-") as folder:
        # Long enough for a machine that stalls for a second: no attempt is given up by accident.
        usual = Settings(home=Path(folder), port=0, request_timeout_ms=20_000)
        settings = dataclasses.replace(usual, **changes)
        it = World(Path(folder), settings, channel_token)
        identity = GatewayIdentity("gw", "here", "secret", channel_token)
        path = Path(folder) / "online.db"
        store = {}

        def reader(endpoint: str) -> OnlineStoreReader:
            return store.setdefault(endpoint, OnlineStoreReader(path, endpoint))

        def load(spec: VersionSpec) -> HostedEngine:
            engine = FunctionEngine(spec.schema.num_columns, it.hosted_score)
            return HostedEngine(engine, spec.max_batch, SystemClock().monotonic_s)

        def source() -> FeatureSource:
            shared = settings.online_store
            return feature_source(settings, SystemClock()) if shared else StoredFeatures(reader)

        it.build = lambda: Gateway(settings, identity, it.link, source(), SystemClock(), load)
        it.gateway = it.build()
        it.port = await it.gateway.start()
        try:
            yield it
        finally:
            await it.close()
