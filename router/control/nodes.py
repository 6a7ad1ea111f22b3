"""The machines of the cluster, and which gateways should run where. Pure; no I/O.

    seen ──> joining ──> alive ──> lost        it left, or Ray gave it up
                │  ^
                v  │ again after `RETRY_S`
              refused                          other code, or its home cannot be written

A node gets gateways only after it was prepared: it runs the same code, and has settings and tokens in a home of its
own. `router.control.ray_members` does what is decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from divisions.settings import LOOPBACK
from divisions.status import NodeStatus
from router.control.applications import FAILED, RUNNING, STOPPING

GATEWAY_RESOURCE = "divisions_gateway"
"""Ray's custom resource, or the node's label, of this name says how many gateways a node is to have."""
GATEWAY_APP = "divisions-gateway-"
RETRY_S = 15.0
"""When a refused node is looked at again: it may have got other code, or room on its disk."""
LOST_KEPT_S = 600.0
"""How long a lost node is shown."""


@dataclass(frozen=True, slots=True)
class SeenNode:
    """A node as Ray lists it. ``gateways`` is how many it is marked for."""

    node_id: str
    address: str
    hostname: str
    is_alive: bool
    gateways: int = 0


@dataclass(frozen=True, slots=True)
class GatewayState:
    """An application of gateways as Ray Serve describes it."""

    status: str
    running: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class GatewayChanges:
    """Which applications to start (the node and how many) and to stop."""

    start: Mapping[str, SeenNode]
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    seen: SeenNode
    is_prepared: bool = False
    is_leaving: bool = False
    reason: str = ""
    asked_s: float = float("-inf")
    lost_s: float = 0.0


class Nodes:
    """See the module.

    Args:
        own_node_id: where the controller runs.
        stamp: of the deployment. Gateways of another deployment are replaced.
    """

    def __init__(self, own_node_id: str, stamp: str) -> None:
        self._own = own_node_id
        self._stamp = stamp
        self._known: dict[str, _Known] = {}
        self._states: Mapping[str, GatewayState] = {}
        self._failures: dict[str, str] = {}

    def see(self, seen: Iterable[SeenNode], now_s: float) -> None:
        """Takes Ray's list. One without our own living node is no list of this cluster, and is left out."""
        listed = {node.node_id: node for node in seen}
        own = listed.get(self._own)
        if own is None or not own.is_alive:
            return
        for node_id, node in listed.items():
            if node.is_alive:
                known = self._known.get(node_id)
                self._known[node_id] = replace(known, seen=node) if known else _Known(node)
        for node_id, known in list(self._known.items()):
            is_alive = node_id in listed and listed[node_id].is_alive
            if not is_alive and known.seen.is_alive:
                self._known[node_id] = replace(known, seen=replace(known.seen, is_alive=False), lost_s=now_s)
            elif not is_alive and now_s - known.lost_s >= LOST_KEPT_S:
                del self._known[node_id]

    def unprepared(self, now_s: float) -> tuple[SeenNode, ...]:
        """The living nodes to prepare now. They count as asked; `prepared` takes the outcome."""
        found = []
        for node_id, known in self._known.items():
            if known.seen.is_alive and not known.is_prepared and now_s - known.asked_s >= RETRY_S:
                self._known[node_id] = replace(known, asked_s=now_s)
                found.append(known.seen)
        return tuple(found)

    def prepared(self, node_id: str, reason: str = "") -> None:
        """Takes the outcome; ``reason`` says why the node was refused, and is empty for one that is ready."""
        if (known := self._known.get(node_id)) is not None:
            self._known[node_id] = replace(known, is_prepared=not reason, reason=reason)

    def leave(self, node_id: str) -> None:
        """The node is about to leave. It gets no gateways any more, and loses those that it has."""
        if (known := self._known.get(node_id)) is not None:
            self._known[node_id] = replace(known, is_leaving=True)

    def changes(self, states: Mapping[str, GatewayState]) -> GatewayChanges:
        """What must change, given all applications of gateways that there are. `see` comes before."""
        self._states = states
        wanted = self._wanted()
        start = {name: node for name, node in wanted.items() if name not in states}
        stop = []
        for name, state in states.items():
            if name in wanted and state.status == FAILED:
                self._failures[name] = state.message or "they do not start"
                stop.append(name)  # It is started again when it is gone.
            elif name in wanted and state.status == RUNNING:
                self._failures.pop(name, None)
            elif name not in wanted and state.status != STOPPING and self._may_stop(name, wanted, states):
                stop.append(name)
        return GatewayChanges(start, tuple(stop))

    def refused(self, app_name: str, reason: str) -> None:
        """Ray Serve did not take an application of gateways."""
        self._failures[app_name] = reason

    def rows(
        self, port: int, hosts: Collection[str], replicas: Mapping[str, int], scheme: str = "http"
    ) -> tuple[NodeStatus, ...]:
        """The nodes as ``divisions status`` shows them; ``hosts`` are the addresses that gateways listen on."""
        rows = [self._row(known, port, hosts, replicas, scheme) for known in self._known.values()]
        return tuple(sorted(rows, key=lambda row: (row.state == "lost", row.address, row.node_id)))

    def _wanted(self) -> dict[str, SeenNode]:
        ready = [known for known in self._known.values() if known.seen.is_alive and known.is_prepared]
        return {
            self._app(known.seen.node_id): known.seen for known in ready if known.seen.gateways and not known.is_leaving
        }

    def _app(self, node_id: str) -> str:
        return f"{GATEWAY_APP}{node_id[:16]}-{self._stamp[:8]}"

    def _may_stop(self, name: str, wanted: Mapping[str, SeenNode], states: Mapping[str, GatewayState]) -> bool:
        """Gateways of an earlier deployment go when those that replace them answer, or their node has gone."""
        node = name.removeprefix(GATEWAY_APP).partition("-")[0]
        successors = [app for app in wanted if app.startswith(f"{GATEWAY_APP}{node}-")]
        is_joining = any(
            known.seen.is_alive and known.seen.gateways and not known.is_prepared and not known.reason
            for node_id, known in self._known.items()
            if node_id.startswith(node)
        )
        if is_joining or not self._known:
            return False
        return all(app in states and states[app].status == RUNNING for app in successors)

    def _row(
        self, known: _Known, port: int, hosts: Collection[str], replicas: Mapping[str, int], scheme: str
    ) -> NodeStatus:
        node = known.seen
        app = self._app(node.node_id)
        state = self._states.get(app)
        is_ready = node.is_alive and known.is_prepared
        return NodeStatus(
            node_id=node.node_id,
            address=node.address,
            hostname=node.hostname,
            state=_state(known),
            gateway=gateway_url(node.address, port, hosts, scheme) if node.gateways and is_ready else "",
            gateways=state.running if state is not None and is_ready else 0,
            wanted_gateways=node.gateways if node.is_alive and not known.is_leaving else 0,
            replicas=replicas.get(node.node_id, 0) if node.is_alive else 0,
            has_controller=node.is_alive and node.node_id == self._own,
            reason=known.reason or (self._failures.get(app, "") if is_ready else ""),
        )


def _state(known: _Known) -> str:
    if not known.seen.is_alive:
        return "lost"
    if known.is_leaving:
        return "leaving"
    if known.is_prepared:
        return "alive"
    return "refused" if known.reason else "joining"


def gateway_url(address: str, port: int, hosts: Collection[str], scheme: str = "http") -> str:
    """Where other machines reach a node's gateways, or this one where they listen on the loopback interface only.

    >>> gateway_url("10.0.0.7", 8000, ("127.0.0.1",)), gateway_url("10.0.0.7", 8000, ("0.0.0.0",))
    ('http://127.0.0.1:8000', 'http://10.0.0.7:8000')
    """
    is_everywhere = not hosts or bool({address, "0.0.0.0", "::"} & set(hosts))
    host = address if is_everywhere else next((one for one in hosts if one != LOOPBACK), LOOPBACK)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
