"""The controller's part where there is none: one table, for one bundle, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from divisions.access.requests import Actor, TokenCommand
from divisions.bundle import Manifest, bundle_address
from divisions.certificates.names import Credentials
from divisions.control import FULL_BP, EndpointRoute, Placement, ReplicaAddress, RoutingTable, VersionRoute, VersionSpec
from divisions.drift import DriftReport
from divisions.errors import NotRunningError
from divisions.promotion import ApprovalCommand
from divisions.reports import GatewayReport, LimitShares
from divisions.status import ControllerStatus

EPOCH = 1


def table_of(manifest: Manifest, endpoint: str, version: str, num_gpus: float) -> RoutingTable:
    """All traffic of ``endpoint`` to one bundle, whose engine runs in the gateway's process. Pure."""
    spec = VersionSpec(
        model=manifest.model,
        version=version,
        bundle_path=bundle_address(manifest.model, manifest.sha256),
        bundle_sha256=manifest.sha256,
        schema=manifest.schema,
        replicas=1,
        num_gpus=num_gpus,
        placement=Placement.IN_PROCESS,
        decision_threshold=manifest.decision_threshold,
    )
    route = EndpointRoute(endpoint, "", (VersionRoute(spec, FULL_BP, is_canary=False),))
    return RoutingTable(EPOCH, (route,), hosted=(spec,))


class FixedLink:
    """A `router.predict.controller_link.ControllerLink` without a controller.

    Args:
        table: what is served.
    """

    def __init__(self, table: RoutingTable) -> None:
        self._table = table

    async def poll_table(self, known_epoch: int, timeout_s: float, known_access: str) -> RoutingTable:
        if known_epoch >= self._table.epoch:
            await asyncio.sleep(timeout_s)
        return self._table

    async def report(self, report: GatewayReport) -> LimitShares:
        """Nobody compares versions here, and no other gateway has a part of a limit."""
        return LimitShares()

    async def register_replica(self, address: ReplicaAddress) -> None:
        """Nobody waits for it."""

    async def reference(self, bundle_sha256: str) -> bytes:
        return b""

    async def replicas_lost(self, replica_ids: tuple[str, ...]) -> None:
        """There are none on other nodes."""

    async def credentials(self, gateway_id: str) -> Credentials:
        raise _alone()

    async def start_rollout(self, spec_json: bytes, force: bool, actor: Actor) -> bytes:
        raise _alone()

    async def command(self, command_json: bytes, actor: Actor) -> bytes:
        raise _alone()

    async def manage_tokens(self, command: TokenCommand, actor: Actor) -> bytes:
        raise _alone()

    async def manage_approvals(self, command: ApprovalCommand, actor: Actor) -> bytes:
        raise _alone()

    async def status(self) -> bytes:
        return msgspec.json.encode(ControllerStatus(EPOCH))

    async def house(self, known: Mapping[str, str]) -> bytes:
        return msgspec.msgpack.encode({})

    async def drift(self, endpoint: str) -> bytes:
        if endpoint:
            raise _alone()
        return msgspec.json.encode(DriftReport(()))


def _alone() -> NotRunningError:
    return NotRunningError(
        "this process serves one bundle and has no controller", remedy="deploy to a cluster for rollouts"
    )
