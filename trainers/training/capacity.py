"""Fits the resources that a stage requests to those of the cluster. Pure.

The pipeline file's resources are a request. Without a T4 in the cluster, a stage gets CPUs; on a laptop, it gets two
cores instead of eight. Each change is a notice, not an error, because the same file must run on a laptop and in
production.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from divisions.pipeline.definition import Resources

BYTES_PER_GB = 1024**3


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """One node's total resources, as Ray counts them. ``has_gateway``: it is marked for gateways. ``is_here``: this
    process runs there."""

    num_cpus: float
    memory_gb: float
    num_gpus: float = 0.0
    accelerator_types: frozenset[str] = frozenset()
    has_gateway: bool = False
    is_here: bool = False


@dataclass(frozen=True, slots=True)
class Allotment:
    """The resources of each of a stage's ``count`` processes."""

    num_cpus: float
    num_gpus: float
    accelerator_type: str | None
    memory_gb: float
    count: int
    notices: tuple[str, ...] = ()

    @property
    def total_cpus(self) -> float:
        return self.num_cpus * self.count


def allot(stage: str, asked: Resources, count: int, nodes: Sequence[NodeCapacity]) -> Allotment:
    """Fits a request to the cluster's nodes. Each process must fit on one node."""
    notices = []
    num_gpus, accelerator_type = asked.num_gpus, asked.accelerator_type
    fitting = [node for node in nodes if _has_gpus(node, num_gpus, accelerator_type)]
    if num_gpus and not fitting:
        notices.append(f"{stage} asks for a {accelerator_type or 'GPU'}, the cluster has none: using CPUs")
        num_gpus, accelerator_type, fitting = 0.0, None, list(nodes)
    most_cpus = max((node.num_cpus for node in fitting), default=0.0)
    num_cpus = min(asked.num_cpus, most_cpus)
    if num_cpus < asked.num_cpus:
        notices.append(
            f"{stage} asks for {asked.num_cpus:g} CPUs, the largest node has {most_cpus:g}: using {num_cpus:g}"
        )
    memory_gb = min(asked.memory_gb or 0.0, *(node.memory_gb for node in fitting)) if fitting else 0.0
    if asked.memory_gb and memory_gb < asked.memory_gb:
        notices.append(f"{stage} asks for {asked.memory_gb:g} GB of memory: using {memory_gb:.1f} GB, all there is")
    places = sum(_places(node, num_cpus, num_gpus) for node in fitting)
    if places < count:
        notices.append(f"{stage} asks for {count} workers, the cluster has room for {max(1, places)}")
        count = max(1, places)
    return Allotment(num_cpus, num_gpus, accelerator_type, memory_gb, count, tuple(notices))


def shrink_to_free(allotment: Allotment, free_cpus: float, free_memory_gb: float) -> Allotment | None:
    """Reduces an allotment to the free resources: at least one CPU per process, or less if less was requested.

    Returns:
        None if less than that is free.
    """
    least = min(1.0, allotment.num_cpus)
    each = math.floor(free_cpus / allotment.count * 100) / 100
    if each < least:
        return None
    return replace(
        allotment,
        num_cpus=min(allotment.num_cpus, each),
        memory_gb=min(allotment.memory_gb, free_memory_gb / allotment.count),
    )


def num_places(allotment: Allotment, free_cpus: float, free_gpus: float, free_memory_gb: float) -> int:
    """How many processes with such an allotment the free resources are enough for; at least one.

    >>> num_places(Allotment(2.0, 0.0, None, 4.0, 1), 8.0, 0.0, 13.0)
    3
    """
    wanted = (
        (allotment.num_cpus, free_cpus),
        (allotment.num_gpus, free_gpus),
        (allotment.memory_gb, free_memory_gb),
    )
    return max(1, min((math.floor(free / each) for each, free in wanted if each), default=1))


def has_gpu(nodes: Sequence[NodeCapacity], num_gpus: float, accelerator_type: str | None = None) -> bool:
    """Whether a node can give this share of its GPUs to one process."""
    return any(_has_gpus(node, num_gpus, accelerator_type) for node in nodes)


def _has_gpus(node: NodeCapacity, num_gpus: float, accelerator_type: str | None) -> bool:
    if not num_gpus:
        return True
    return node.num_gpus >= num_gpus and (accelerator_type is None or accelerator_type in node.accelerator_types)


def _places(node: NodeCapacity, num_cpus: float, num_gpus: float) -> int:
    by_cpu = math.floor(node.num_cpus / num_cpus) if num_cpus else 1_000_000
    by_gpu = math.floor(node.num_gpus / num_gpus) if num_gpus else 1_000_000
    return min(by_cpu, by_gpu)
