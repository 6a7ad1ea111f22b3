"""What a gateway process of the lab does: the product's `router.gateway.gateway`, with a controller in memory, not
Ray's."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from divisions.access.requests import Actor, TokenCommand
from divisions.certificates.names import Credentials, Role
from divisions.clock import SystemClock
from divisions.control import ReplicaAddress, RoutingTable, VersionSpec
from divisions.errors import NotRunningError
from divisions.online_store import OnlineStoreReader, online_store_path
from divisions.promotion import ApprovalCommand
from divisions.reports import GatewayReport, LimitShares
from divisions.settings import Settings
from router.gateway.gateway import Gateway, GatewayIdentity
from router.predict.stored_features import StoredFeatures
from serving.replica.in_process import HostedEngine, open_hosted

_READY_S = 30.0


class TableLink:
    """A controller in memory with one fixed routing table. Reports are encoded, as for the controller, and dropped."""

    def __init__(self, table: RoutingTable, authority: Path) -> None:
        self._table = table
        self._authority = authority
        self._never = asyncio.Event()

    async def poll_table(self, known_epoch: int, timeout_s: float, known_access: str) -> RoutingTable:
        if known_epoch >= self._table.epoch:
            await self._never.wait()
        return self._table

    async def report(self, report: GatewayReport) -> LimitShares:
        msgspec.msgpack.encode(report)
        return LimitShares()

    async def register_replica(self, address: ReplicaAddress) -> None:
        del address

    async def reference(self, bundle_sha256: str) -> bytes:
        del bundle_sha256
        return b""

    async def replicas_lost(self, replica_ids: tuple[str, ...]) -> None:
        del replica_ids

    async def credentials(self, gateway_id: str) -> Credentials:
        from benchmarks.lab.certificates import self_signed  # only where there is a network

        return self_signed(Role.GATEWAY, gateway_id, self._authority)

    async def start_rollout(self, spec_json: bytes, force: bool, actor: Actor) -> bytes:
        raise NotRunningError("the lab has no controller")

    async def command(self, command_json: bytes, actor: Actor) -> bytes:
        raise NotRunningError("the lab has no controller")

    async def manage_tokens(self, command: TokenCommand, actor: Actor) -> bytes:
        raise NotRunningError("the lab has no controller")

    async def manage_approvals(self, command: ApprovalCommand, actor: Actor) -> bytes:
        raise NotRunningError("the lab has no controller")

    async def status(self) -> bytes:
        raise NotRunningError("the lab has no controller")

    async def house(self, known: Mapping[str, str]) -> bytes:
        raise NotRunningError("the lab has no controller")

    async def drift(self, endpoint: str) -> bytes:
        raise NotRunningError("the lab has no controller")


@dataclass(frozen=True, slots=True)
class Place:
    """The gateway's node, and the file of the authority that signs for it."""

    node: str
    authority: Path


async def serve(settings: Settings, table: RoutingTable, place: Place, *, has_bookkeeping: bool) -> None:
    """Prints ``ready`` when every endpoint can answer; ends when standard input does."""

    def load(spec: VersionSpec) -> HostedEngine:
        return open_hosted(msgspec.json.encode(spec), settings)

    def store(endpoint: str) -> OnlineStoreReader:
        return OnlineStoreReader(online_store_path(settings.home), endpoint)

    stored = StoredFeatures(store)
    token = (settings.home / "channel_token").read_bytes()
    identity = GatewayIdentity(f"lab{os.getpid()}", place.node, "token", token)
    gateway = Gateway(
        settings, identity, TableLink(table, place.authority), stored, SystemClock(), load, has_bookkeeping
    )
    await gateway.start()
    try:
        async with asyncio.timeout(_READY_S):
            while not _is_connected(gateway, table):
                await asyncio.sleep(0.01)
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await gateway.stop(0.5)


def _is_connected(gateway: Gateway, table: RoutingTable) -> bool:
    """Whether all replicas are connected, not only one of each version."""
    dispatcher = gateway.dispatcher
    expected = sum(len(version.replicas) for route in table.endpoints for version in route.versions)
    connected = sum(pool.ready_channels for endpoint in dispatcher.endpoints.values() for pool in endpoint.pools)
    return dispatcher.is_ready and connected >= expected
