"""Whether the cluster's nodes have room for replicas, and what they lack. Pure.

Ray places replicas. This only counts beforehand, so that a wish that cannot be met is refused with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from divisions.control import VersionSpec

MAX_NAMED = 6
"""A reason names at most this many nodes."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Node:
    """A living node: what it has and what of it is free, in Ray's resources; ``labels`` as Ray knows them."""

    name: str
    total: Mapping[str, float]
    free: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    is_draining: bool = False
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The living nodes, and what waits for one: shapes of Ray's resources, each with its number."""

    nodes: tuple[Node, ...] = ()
    waiting: tuple[tuple[Mapping[str, float], int], ...] = ()

    def num_waiting(self, version: VersionSpec) -> int:
        """How many replicas of a version's size wait for a node; some may be another version's."""
        needs = demand(version)
        return sum(count for shape, count in self.waiting if _resources(shape) == needs)


def _resources(shape: Mapping[str, float]) -> dict[str, float]:
    return {name: amount for name, amount in shape.items() if name in ("CPU", "GPU") and amount > 0}


def accelerator_resource(accelerator_type: str) -> str:
    """Ray's resource that every node with such a GPU has."""
    return f"accelerator_type:{accelerator_type}"


def demand(version: VersionSpec) -> dict[str, float]:
    """What one replica takes, in Ray's resources."""
    needs = {"CPU": version.num_cpus, "GPU": version.num_gpus}
    return {name: amount for name, amount in needs.items() if amount > 0}


def may_hold(node: Node, version: VersionSpec) -> bool:
    """Whether a node's kind is right: its labels, its GPU, and that it stays."""
    if node.is_draining or any(node.labels.get(label) != value for label, value in version.nodes.items()):
        return False
    if not version.num_gpus or not version.accelerator_type:
        return True
    return accelerator_resource(version.accelerator_type) in node.total


def room(nodes: Iterable[Node], version: VersionSpec) -> int:
    """How many more replicas of a version fit; a thousand where they take nothing."""
    return sum(_fits(node.free, demand(version)) for node in nodes if may_hold(node, version))


def _fits(free: Mapping[str, float], needs: Mapping[str, float]) -> int:
    fitting = [math.floor(free.get(name, 0.0) / amount + _ROUNDING) for name, amount in needs.items()]
    return max(0, min(fitting, default=1_000))


def with_replicas(nodes: Iterable[Node], version: VersionSpec, more: int) -> list[Node]:
    """The nodes once ``more`` replicas of a version are on them, as far as they fit."""
    needs, left, placed = demand(version), more, []
    for node in nodes:
        here = min(left, _fits(node.free, needs)) if may_hold(node, version) else 0
        left -= here
        free = {name: amount - here * needs.get(name, 0.0) for name, amount in node.free.items()}
        placed.append(replace(node, free=free))
    return placed


def lack(nodes: Sequence[Node], version: VersionSpec, more: int) -> str:
    """What keeps ``more`` replicas of a version from fitting; empty if they fit.

    The text names the number that fits, what a replica takes, and what is free on every node that it may use.
    """
    fitting = room(nodes, version)
    if fitting >= more:
        return ""
    each = " and ".join(f"{amount:g} {_unit(name, version)}" for name, amount in demand(version).items())
    start = f"the cluster has room for {fitting} of {more} more replicas"
    eligible = [node for node in nodes if may_hold(node, version)]
    if not eligible:
        return f"{start}: no node {_wanted(version)}"
    free = "; ".join(_free(node, version) for node in eligible[:MAX_NAMED])
    others = len(eligible) - MAX_NAMED
    more_nodes = f"; and {others} more" if others > 0 else ""
    return f"{start}: each takes {each}; free: {free}{more_nodes}"


def _wanted(version: VersionSpec) -> str:
    wants = [f"is labelled {label}={value}" for label, value in version.nodes.items()]
    if version.num_gpus and version.accelerator_type:
        wants.append(f"has a {version.accelerator_type}")
    return " and ".join(wants) or "stays (all are being drained)"


def _free(node: Node, version: VersionSpec) -> str:
    parts = [
        f"{node.free.get(name, 0.0):g} of {node.total.get(name, 0.0):g} {_unit(name, version)}"
        for name in demand(version)
    ]
    return f"{node.name} {', '.join(parts)}"


def _unit(resource: str, version: VersionSpec) -> str:
    if resource == "CPU":
        return "CPUs"
    return f"{version.accelerator_type} GPUs" if version.accelerator_type else "GPUs"
