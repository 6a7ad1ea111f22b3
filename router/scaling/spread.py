"""Whether a version's replicas are too close together, and where another would be better. Pure.

Ray Serve spreads replicas as well as it can when it starts them, and never again. So all replicas of a version may be
on one node, and a node that comes back gets none. `router.scaling.moves` mends that, one replica at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from divisions.control import VersionSpec
from router.scaling.placement import Node, demand, may_hold, room

UNEVEN = 2
"""A move makes numbers more even only if they differ by two; then the fullest node loses what the emptiest gets."""
MAX_HELD = 8
"""Room is held on at most so many nodes; beyond, Ray may place the replica where it does not help."""
_UNITS = 10_000
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A version and its replicas that answer: their nodes by their ids, the oldest first.

    ``is_idle`` says that no rollout compares it, and that it serves.
    """

    version: VersionSpec
    replicas: Mapping[str, str]
    is_idle: bool

    @property
    def is_full(self) -> bool:
        return len(self.replicas) == self.version.replicas


@dataclass(frozen=True, slots=True)
class Crowding:
    """A node with too many of a version's replicas.

    Attributes:
        node: which.
        count: of its replicas.
        held: nodes that must not get the next replica, and the CPUs that are free there.
    """

    node: Node
    count: int
    held: Mapping[str, float]

    def is_better(self, count: int) -> bool:
        """Whether a node that had ``count`` of the replicas is a better place than this one."""
        return self.count - count >= UNEVEN


def crowding(standing: Standing, nodes: Sequence[Node]) -> Crowding | None:
    """The node that a replica should be moved from; None if all is well, or no better node has room."""
    counts, by_id = Counter(standing.replicas.values()), {node.node_id: node for node in nodes}
    if not counts or not set(counts) <= set(by_id):
        return None  # A node was lost just now: its replicas are about to go.
    node_id, count = max(counts.items(), key=lambda item: (item[1], item[0]))
    with_room = [node for node in nodes if may_hold(node, standing.version) and room([node], standing.version)]
    found = Crowding(by_id[node_id], count, {})
    if not any(found.is_better(counts[node.node_id]) for node in with_room):
        return None
    worse = [node for node in with_room if not found.is_better(counts[node.node_id])]
    held = {node.node_id: _floor(node.free["CPU"]) for node in worse if "CPU" in demand(standing.version)}
    return Crowding(found.node, count, held if len(held) <= MAX_HELD else {})


def _floor(amount: float) -> float:
    return math.floor(amount * _UNITS + 1e-6) / _UNITS
