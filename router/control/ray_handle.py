"""The controller's actor, for processes that ask it something. They need neither Ray Serve nor the journal."""

from __future__ import annotations

from typing import Any

import msgspec
import ray

from divisions.status import NodeStatus

CONTROLLER_NAME = "divisions-controller"
NAMESPACE = "divisions"
ANSWER_S = 15.0


def find_controller() -> Any:
    """The controller's actor handle; None when there is none."""
    try:
        return ray.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)
    except ValueError:
        return None


def nodes_of(controller: Any) -> tuple[NodeStatus, ...]:
    """The nodes, as the controller knows them."""
    data = ray.get(controller.nodes.remote(), timeout=ANSWER_S)
    return msgspec.json.decode(data, type=tuple[NodeStatus, ...])


def gateway_failure(controller: Any) -> str:
    """Why the gateways beside the controller do not start; empty while they may."""
    return next((node.reason for node in nodes_of(controller) if node.has_controller), "")
