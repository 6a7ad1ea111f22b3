"""Starts the controller's actor, or finds it."""

from __future__ import annotations

from typing import Any

import ray

from divisions.deployment import Deployment
from divisions.settings import Settings
from router.control.ray_checks import check_journal, ensure_authority
from router.control.ray_controller import APPLICATION_BUILDER, MAX_CONCURRENCY, ControllerActor
from router.control.ray_handle import CONTROLLER_NAME, NAMESPACE
from router.control.ray_portable import portable


def get_or_create_controller(settings: Settings, deployment: Deployment, builder: str = APPLICATION_BUILDER) -> Any:
    """The controller's actor handle; starts the actor if there is none. Returns when it has replayed its journal.

    It runs on the deployer's node, because its journal is there; on any node if the journal is on a server.

    Args:
        settings: the deployer's.
        deployment: what was made of them, and written onto the nodes on which the controller may run.
        builder: the function that builds a version's application, ``package.module:function``.
    """
    check_journal(settings)
    ensure_authority(settings)
    actor = ray.remote(portable(ControllerActor)).options(
        name=CONTROLLER_NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_concurrency=MAX_CONCURRENCY,
        num_cpus=0,
        resources={f"node:{deployment.pin}": 0.001} if deployment.pin else {},
    )
    handle = actor.remote(deployment.home, builder, deployment.stamp, is_anywhere=not deployment.pin)
    ray.get(handle.ping.remote())
    return handle
