"""What a gateway process of the lab does: the product's `router.gateway.gateway`, with a controller in memory, not
Ray's."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from divisions.certificates.names import Credentials
from divisions.clock import SystemClock
from divisions.control import ReplicaAddress, RoutingTable, VersionSpec
from divisions.errors import NotRunningError
from divisions.online_store import OnlineStoreReader
from divisions.reports import GatewayReport
from divisions.settings import Settings
from router.gateway.gateway import Gateway, GatewayIdentity
from router.predict.stored_features import StoredFeatures
from serving.replica.in_process import HostedEngine, open_hosted

_READY_S = 30.0


class TableLink:
    """A controller in memory with one fixed routing table. Reports are encoded, as for the controller, and dropped."""

    def __init__(self, table: RoutingTable) -> None:
        self._table = table
        self._never = asyncio.Event()

    async def poll_table(self, known_epoch: int, timeout_s: float) -> RoutingTable:
        if known_epoch >= self._table.epoch:
            await self._never.wait()
        return self._table

    async def report(self, report: GatewayReport) -> None:
        msgspec.msgpack.encode(report)

    async def register_replica(self, address: ReplicaAddress) -> None:
        del address

    async def reference(self, bundle_sha256: str) -> bytes:
        del bundle_sha256
        return b""

    async def replicas_lost(self, replica_ids: tuple[str, ...]) -> None:
        del replica_ids

    async def credentials(self, gateway_id: str) -> Credentials:
        raise NotRunningError("the lab has no controller")

    async def start_rollout(self, spec_json: bytes, force: bool) -> bytes:
        raise NotRunningError("the lab has no controller")

    async def command(self, command_json: bytes) -> bytes:
        raise NotRunningError("the lab has no controller")

    async def status(self) -> bytes:
        raise NotRunningError("the lab has no controller")


async def serve(settings: Settings, table: RoutingTable, *, has_bookkeeping: bool) -> None:
    """Prints ``ready`` when every endpoint can answer; ends when standard input does."""

    def load(spec: VersionSpec) -> HostedEngine:
        return open_hosted(msgspec.json.encode(spec), settings)

    def store(endpoint: str) -> OnlineStoreReader:
        return OnlineStoreReader(settings.home / "online.db", endpoint)

    stored = StoredFeatures(store)

    identity = GatewayIdentity(f"lab{os.getpid()}", "here", "token", b"")
    gateway = Gateway(settings, identity, TableLink(table), stored, SystemClock(), load, has_bookkeeping)
    await gateway.start()
    try:
        async with asyncio.timeout(_READY_S):
            while not gateway.dispatcher.is_ready:
                await asyncio.sleep(0.01)
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await gateway.stop(0.5)
