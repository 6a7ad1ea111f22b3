"""Where a cluster of many nodes is at a limit first, apart from the requests themselves. Pure.

Requests scale with the nodes (`benchmarks.lab.simulation`): each node brings gateways and replicas, and a gateway uses
its own node's replicas first. What does not scale is what all nodes share, or what every node has with every other one:

- the controller is one process with one loop: a report a second of each gateway, a heartbeat a second of each replica,
  a long poll of each gateway;
- a new table goes to each gateway, and names each replica, so a change costs the product of the two;
- each gateway has a connection to each replica: memory on both sides, and a handshake after a restart.

A share of 1 is the limit. `limits` says for each of them how many nodes reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

NODES = (1, 3, 10, 30, 100, 300, 1_000)
MAX_NODES = 100_000
POLL_EVERY_S = 30.0
"""As `router.gateway.gateway.POLL_S`."""
SPREAD_S = 2.0
"""A lost node shall have left the tables of all gateways within this time."""
MAX_POLLS = 10_000
"""As `router.control.ray_controller.MAX_CONCURRENCY`."""
MAX_GATEWAYS = 8_192
"""As `serving.replica.channel_server.MAX_GATEWAYS`."""
MEMORY_KB = 1024 * 1024
"""Of one process, for its connections to other nodes: 1 GiB."""


class Calls(msgspec.Struct, frozen=True):
    """The controller's CPU seconds for one call, Ray's share included, and for one more replica in a table."""

    report_s: float
    heartbeat_s: float
    poll_s: float
    replica_bytes: float
    copy_byte_s: float
    """For each byte of a table that is handed to one more gateway."""


class NodeShape(msgspec.Struct, frozen=True):
    """What runs on each node."""

    gateways: int
    replicas: int


class Limit(msgspec.Struct, frozen=True):
    """One thing that does not scale: its share at each of `NODES`, and the number of nodes at its limit."""

    name: str
    shares: list[float]
    max_nodes: int


def controller_share(nodes: int, shape: NodeShape, calls: Calls) -> float:
    """How busy the controller's loop is while nothing changes."""
    each_gateway_s = calls.report_s + calls.poll_s / POLL_EVERY_S
    return nodes * (shape.gateways * each_gateway_s + shape.replicas * calls.heartbeat_s)


def table_bytes(nodes: int, shape: NodeShape, calls: Calls) -> float:
    return nodes * shape.replicas * calls.replica_bytes


def spread_share(nodes: int, shape: NodeShape, calls: Calls) -> float:
    """The controller's time to hand a new table to every gateway, of `SPREAD_S`. It is encoded once."""
    each_s = calls.poll_s + table_bytes(nodes, shape, calls) * calls.copy_byte_s
    return nodes * shape.gateways * each_s / SPREAD_S


def limits(shape: NodeShape, calls: Calls, connection_kb: float) -> list[Limit]:
    """Every limit, the one that is reached first at the top."""
    shares: dict[str, Callable[[int], float]] = {
        "controller: reports, heartbeats and polls": lambda nodes: controller_share(nodes, shape, calls),
        f"controller: a new table to all gateways within {SPREAD_S:g} s": lambda nodes: spread_share(
            nodes, shape, calls
        ),
        f"controller: {MAX_POLLS:,} calls at once": lambda nodes: nodes * shape.gateways / MAX_POLLS,
        f"replica: {MAX_GATEWAYS:,} gateways": lambda nodes: nodes * shape.gateways / MAX_GATEWAYS,
        "replica: 1 GiB for connections": lambda nodes: nodes * shape.gateways * connection_kb / MEMORY_KB,
        "gateway: 1 GiB for connections": lambda nodes: nodes * shape.replicas * connection_kb / MEMORY_KB,
    }
    found = [
        Limit(name, [round(share(nodes), 5) for nodes in NODES], _nodes_at(share)) for name, share in shares.items()
    ]
    return sorted(found, key=lambda limit: limit.max_nodes)


def _nodes_at(share: Callable[[int], float]) -> int:
    """The most nodes whose share is at most 1; shares grow with the nodes."""
    low, high = 0, MAX_NODES
    while low < high:
        middle = (low + high + 1) // 2
        if share(middle) <= 1.0:
            low = middle
        else:
            high = middle - 1
    return low


def render_limits(name: str, found: Sequence[Limit]) -> str:
    """A table for people."""
    lines = [f"\ncomputed: {name}", f"{'share of its limit at nodes':<62}" + "".join(f"{nodes:>8}" for nodes in NODES)]
    lines += [
        f"{limit.name:<52}{limit.max_nodes:>10,}" + "".join(f"{share:>8.1%}" for share in limit.shares)
        for limit in found
    ]
    return "\n".join(lines)
