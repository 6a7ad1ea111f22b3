"""A connection to the Ray cluster: its nodes, and waiting with a deadline for free resources."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

import ray
from ray._private.state import available_resources_per_node
from ray.exceptions import RaySystemError

from divisions.errors import NotRunningError, TrainingError
from divisions.pipeline.definition import Resources
from trainers.training.capacity import BYTES_PER_GB, Allotment, NodeCapacity, allot, num_places, shrink_to_free
from trainers.training.interrupts import preserve_stop_handler

SHRINK_AFTER_S = 5.0
"""How long to wait for the full request before using less."""

NODE_LABEL = "ray.io/node-id"
"""Ray labels each node with its id."""

GATEWAY_RESOURCE = "divisions_gateway"
"""Nodes that are to have gateways have this resource."""

RESOURCE_DEADLINE_S = 120.0
"""How long to wait for any resources. Replicas hold their CPUs for weeks, so longer waiting would rarely help."""


def connect(address: str) -> None:
    """Connects this process to the cluster. Call `trainers.training.cluster_file.prepare_environment` first.

    Raises:
        NotRunningError: nothing answers at the address, or the token is wrong.
    """
    _require_listener(address)
    try:
        with preserve_stop_handler():
            ray.init(
                address=address,
                namespace="divisions",
                log_to_driver=False,
                configure_logging=False,
                ignore_reinit_error=True,
            )
    except (ConnectionError, RuntimeError, ValueError, RaySystemError, ray.exceptions.AuthenticationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotRunningError(
            f"the Ray cluster at {address} cannot be reached: {reason}", remedy="start one with `divisions up`"
        ) from error


def _require_listener(address: str) -> None:
    """Checks that the address answers. Ray itself would retry for about 15 s, with a warning each second."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except OSError as error:
        raise NotRunningError(
            f"nothing answers at {address}, the address of the Ray cluster: {error.strerror or error}",
            remedy="start it with `divisions up`",
        ) from error


def this_node() -> str:
    """The id of the node that this process is connected through: the one of its machine."""
    node_id: str = ray.get_runtime_context().get_node_id()
    return node_id


def nodes(only_node: str = "") -> tuple[NodeCapacity, ...]:
    """The living nodes of the cluster; with ``only_node``, the one of this id."""
    found, here = [], this_node()
    for node in ray.nodes():
        resources = node["Resources"]
        if node["Alive"] and only_node in {"", node["NodeID"]}:
            types = {
                name.removeprefix("accelerator_type:") for name in resources if name.startswith("accelerator_type:")
            }
            found.append(
                NodeCapacity(
                    num_cpus=resources.get("CPU", 0.0),
                    memory_gb=resources.get("memory", 0.0) / BYTES_PER_GB,
                    num_gpus=resources.get("GPU", 0.0),
                    accelerator_types=frozenset(types),
                    has_gateway=resources.get(GATEWAY_RESOURCE, 0.0) > 0,
                    is_here=node["NodeID"] == here,
                )
            )
    return tuple(found)


def acquire(stage: str, asked: Resources, count: int, only_node: str = "") -> Allotment:
    """Waits until the free resources are enough for a stage's processes; with ``only_node``, those of this node.

    Another run may take the free resources right after this. Ray then queues our processes; `ray_train` bounds that
    wait.

    Raises:
        TrainingError: not enough was free within `RESOURCE_DEADLINE_S`.
    """
    allotment = allot(stage, asked, count, nodes(only_node))
    started_s = time.monotonic()
    while True:
        free = _free(only_node)
        free_cpus, free_memory_gb = free.get("CPU", 0.0), free.get("memory", 0.0) / BYTES_PER_GB
        waited_s = time.monotonic() - started_s
        has_gpus = free.get("GPU", 0.0) >= allotment.num_gpus * allotment.count
        if has_gpus and free_cpus >= allotment.total_cpus and free_memory_gb >= allotment.memory_gb * allotment.count:
            return allotment
        shrunk = (
            shrink_to_free(allotment, free_cpus, free_memory_gb) if has_gpus and waited_s >= SHRINK_AFTER_S else None
        )
        if shrunk is not None:
            return shrunk
        if waited_s >= RESOURCE_DEADLINE_S:
            total = ray.cluster_resources()
            raise TrainingError(
                f"{stage} waited {waited_s:.0f} s for {allotment.count} x {allotment.num_cpus:g} CPUs and"
                f" {allotment.num_gpus:g} GPUs; free are {free_cpus:g} of {total.get('CPU', 0.0):g} CPUs"
                f" and {free.get('GPU', 0.0):g} of {total.get('GPU', 0.0):g} GPUs",
                remedy="lower the stage's resources, serve fewer replicas, or add nodes",
            )
        time.sleep(0.5)


def places(allotment: Allotment, only_node: str = "") -> int:
    """How many processes with such an allotment fit into what is free now."""
    free = _free(only_node)
    return num_places(allotment, free.get("CPU", 0.0), free.get("GPU", 0.0), free.get("memory", 0.0) / BYTES_PER_GB)


def _free(only_node: str) -> Mapping[str, float]:
    if not only_node:
        whole: dict[str, float] = ray.available_resources()
        return whole
    each: dict[str, dict[str, float]] = available_resources_per_node()
    return each.get(only_node, {})
