"""The calls that a gateway makes to the controller. `router.gateway.ray_gateway` makes them over Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from divisions.access.requests import Actor, TokenCommand
from divisions.certificates.names import Credentials
from divisions.control import ReplicaAddress, RoutingTable
from divisions.promotion import ApprovalCommand
from divisions.reports import GatewayReport, LimitShares


class ControllerLink(Protocol):
    """Every call may raise `divisions.errors.NotRunningError` while the controller is away. Serving goes on then."""

    async def poll_table(self, known_epoch: int, timeout_s: float, known_access: str) -> RoutingTable:
        """The routing table in force; waits up to ``timeout_s`` for one that is newer than ``known_epoch``, or that has
        another list of tokens than the one with the stamp ``known_access``."""
        ...

    async def report(self, report: GatewayReport) -> LimitShares:
        """Delivers one second's counts; returns this gateway's parts of the limits of principals. A lost report costs
        statistical power, not validity."""
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

    async def start_rollout(self, spec_json: bytes, force: bool, actor: Actor) -> bytes:
        """Starts a rollout for ``actor``; returns its status as JSON."""
        ...

    async def command(self, command_json: bytes, actor: Actor) -> bytes:
        """Carries out a command of ``actor``; returns the rollout's status as JSON."""
        ...

    async def manage_tokens(self, command: TokenCommand, actor: Actor) -> bytes:
        """Creates, lists, rotates or revokes tokens; returns a `TokenAnswer` as JSON."""
        ...

    async def manage_approvals(self, command: ApprovalCommand, actor: Actor) -> bytes:
        """Approves a version, takes an approval back or lists them; returns an `ApprovalAnswer` as JSON."""
        ...

    async def status(self) -> bytes:
        """The cluster's status as JSON."""
        ...

    async def house(self, known: Mapping[str, str]) -> bytes:
        """The sections of the house that are not as ``known`` says, by name: stamps and JSON, as msgpack."""
        ...

    async def drift(self, endpoint: str) -> bytes:
        """The drift of an endpoint with its histograms, or of all for the empty name, as JSON."""
        ...
