"""Keeps the nodes of the cluster prepared, and a gateway on each that is marked for one. See `router.control.nodes`."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from divisions.clock import SystemClock
from divisions.deployment import Deployment, read_secrets
from divisions.errors import DivisionsError
from divisions.settings import Settings
from divisions.status import NodeStatus, ReplicaStatus
from router.control.nodes import GatewayState, Nodes, SeenNode

log = logging.getLogger(__name__)

KEEP_S = 1.0


class Cluster(Protocol):
    """What Ray does for the keeper. Calls block, so they are made in a thread, but for `prepare`."""

    def list_nodes(self) -> tuple[SeenNode, ...]:
        """All nodes that Ray knows."""
        ...

    async def prepare(self, node: SeenNode, secrets: Mapping[str, bytes]) -> str:
        """Writes settings and tokens onto a node; returns why it was refused, an empty text if it was not."""
        ...

    def gateways(self) -> Mapping[str, GatewayState]:
        """All applications of gateways."""
        ...

    def start(self, app_name: str, node: SeenNode) -> None:
        """Starts a node's gateways."""
        ...

    def stop(self, app_name: str) -> None:
        """Begins to stop an application of gateways."""
        ...


class NodeKeeper:
    """See the module.

    Args:
        settings: of the controller's node.
        deployment: in force.
        cluster: Ray.
        node_id: where the controller runs. This node is prepared: the controller's settings are from there.
    """

    def __init__(self, settings: Settings, deployment: Deployment, cluster: Cluster, node_id: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._nodes = Nodes(node_id, deployment.stamp)
        self._node_id = node_id
        self._clock = SystemClock()
        self._preparing: dict[str, asyncio.Task[None]] = {}
        """By the node's id."""

    async def run(self) -> None:
        while True:
            try:
                await self.keep()
            except Exception:
                log.exception("the nodes could not be kept")  # The edge of a loop: tried again.
            await asyncio.sleep(KEEP_S)

    async def keep(self) -> None:
        """Looks once, and does what is missing. Preparation goes on meanwhile: a node that hangs holds up no other."""
        self._nodes.see(await asyncio.to_thread(self._cluster.list_nodes), self._clock.monotonic_s())
        self._nodes.prepared(self._node_id)
        for node in self._nodes.unprepared(self._clock.monotonic_s()):
            if node.node_id not in self._preparing:
                self._preparing[node.node_id] = asyncio.create_task(self._prepare(node))
        changes = self._nodes.changes(await asyncio.to_thread(self._cluster.gateways))
        for name in changes.stop:
            await asyncio.to_thread(self._cluster.stop, name)
        for name, node in changes.start.items():
            try:
                await asyncio.to_thread(self._cluster.start, name, node)
            except DivisionsError as error:
                self._nodes.refused(name, str(error))

    async def _prepare(self, node: SeenNode) -> None:
        try:
            reason = await self._cluster.prepare(node, self.secrets())
        except Exception as error:
            log.exception("a node could not be prepared")  # The edge of a task: it is asked again.
            reason = f"{node.address} could not be prepared: {error}"
        del self._preparing[node.node_id]
        if reason:
            log.warning("node refused: %s", reason)
        self._nodes.prepared(node.node_id, reason)

    def leave(self, node_id: str) -> None:
        self._nodes.leave(node_id)

    def secrets(self) -> dict[str, bytes]:
        """What all nodes share, from the home of this one."""
        return read_secrets(self._settings.home)

    def rows(self, replicas: Iterable[ReplicaStatus]) -> tuple[NodeStatus, ...]:
        counts = Counter(replica.node for replica in replicas if replica.ready)
        hosts = self._settings.hosts if self._settings.host else ()
        return self._nodes.rows(self._settings.port, hosts, counts, self._settings.scheme)
