"""The calls that a gateway makes to the controller. `router.gateway.ray_gateway` makes them over Ray."""

from __future__ import annotations

from typing import Protocol

from divisions.certificates.names import Credentials
from divisions.control import ReplicaAddress, RoutingTable
from divisions.reports import GatewayReport


class ControllerLink(Protocol):
    """Every call may raise `divisions.errors.NotRunningError` while the controller is away. Serving goes on then."""

    async def poll_table(self, known_epoch: int, timeout_s: float) -> RoutingTable:
        """The routing table in force; waits up to ``timeout_s`` for one that is newer than ``known_epoch``."""
        ...

    async def report(self, report: GatewayReport) -> None:
        """Delivers one second's counts. A lost report costs statistical power, not validity."""
        ...

    async def register_replica(self, address: ReplicaAddress) -> None:
        """Registers a version that is warm in this gateway's own process; repeated as a heartbeat."""
        ...

    async def reference(self, bundle_sha256: str) -> bytes:
        """The reference histograms (``reference.json``) of a version that is served; empty while they are not known."""
        ...

    async def replicas_lost(self, replica_ids: tuple[str, ...]) -> None:
        """Says that the channels to these replicas of other nodes broke just now."""
        ...

    async def credentials(self, gateway_id: str) -> Credentials:
        """A certificate for channels to other nodes, with a new key."""
        ...

    async def start_rollout(self, spec_json: bytes, force: bool) -> bytes:
        """Starts a rollout; returns its status as JSON."""
        ...

    async def command(self, command_json: bytes) -> bytes:
        """Carries out an operator's command; returns the rollout's status as JSON."""
        ...

    async def status(self) -> bytes:
        """The cluster's status as JSON."""
        ...
