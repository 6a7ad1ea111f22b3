"""The gateways of a node as a Ray Serve application. Ray watches and restarts them; each serves HTTP by itself.

The gateway is a process of its own, a child of Ray Serve's replica. The replica calls the controller for it, see
`router.gateway.child`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray import serve

from divisions.cause import ours_in
from divisions.deployment import enter_node
from divisions.errors import ClusterError, DivisionsError, NotRunningError
from divisions.settings import LOOPBACK, environment_for_child
from router.gateway.bridge import Argument
from router.gateway.child import STOP_S, GatewayChild
from router.gateway.credentials import CredentialCalls

CONTROLLER_NAME = "divisions-controller"
NAMESPACE = "divisions"
NODE_ID_LABEL = "ray.io/node-id"
HEALTH_TIMEOUT_S = 15.0
"""Three in a row, as for replicas: a cable that is out for 20 s costs no gateway. One that hangs says so, and goes
sooner."""


class RayController:
    """The controller's actor. It is looked up by name, and again after a call that it does not answer.

    Ray's head answers look-ups, and may be away while the controller lives on another node. So the actor that is known
    stays in use until it is dead for good or another one is found, and one look-up at a time may wait for the head.

    Args:
        find: looks the actor up, and blocks.
    """

    def __init__(self, find: Callable[[], Any] | None = None) -> None:
        self._find = find or _find_controller
        self._actor: Any = None
        self._search: asyncio.Future[Any] | None = None

    async def call(self, method: str, arguments: tuple[Argument, ...], timeout_s: float) -> bytes:
        """Calls a method of the controller; one that returns nothing returns no bytes.

        Raises:
            NotRunningError: the controller is away.
            DivisionsError: the controller's own error.
        """
        try:
            async with asyncio.timeout(timeout_s):
                actor = self._actor or await asyncio.shield(self._look_up())
                reference = getattr(actor, method).remote(*arguments)
                return await asyncio.wrap_future(reference.future()) or b""
        except (ray.exceptions.RayActorError, ValueError, TimeoutError) as error:
            if isinstance(error, ray.exceptions.ActorDiedError):
                self._actor = None
            self._look_up()
            raise not_running(error) from None
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, DivisionsError) else error from None

    def _look_up(self) -> asyncio.Future[Any]:
        """The look-up that is under way, or a new one; it takes what it finds into use."""
        if self._search is None or self._search.done():
            self._search = asyncio.get_running_loop().run_in_executor(None, self._find)
            self._search.add_done_callback(self._found)
        return self._search

    def _found(self, search: asyncio.Future[Any]) -> None:
        if not search.cancelled() and search.exception() is None:
            self._actor = search.result()


def not_running(error: Exception) -> NotRunningError:
    """What callers are told while the controller is away: its own reason, if it could not start, nothing of Ray's."""
    reason = ours_in([str(error)])
    if reason:
        return NotRunningError(f"the controller cannot start: {reason}")
    return NotRunningError(
        f"the controller does not answer ({type(error).__name__})", remedy="Ray restarts it; try again shortly"
    )


def _find_controller() -> Any:
    return ray.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)


class NodeGateways:
    """Stands in for one gateway process on its node."""

    def __init__(self, home: str, stamp: str) -> None:
        logging.getLogger("router").setLevel(logging.INFO)
        settings = enter_node(home, stamp)
        if not settings.host:
            settings = replace(settings, host=",".join(own_hosts(ray.util.get_node_ip_address())))
        calls = CredentialCalls(RayController().call)
        node_id = ray.get_runtime_context().get_node_id()
        self._child = GatewayChild(node_id, calls.call, environment_for_child(settings))
        self._child.start_and_wait()

    def check_health(self) -> None:
        if not self._child.is_serving:
            raise ClusterError("the gateway's process is silent")

    async def __del__(self) -> None:
        if hasattr(self, "_child"):
            self._child.stop()
            await asyncio.to_thread(self._child.join, STOP_S)


def own_hosts(node_address: str) -> tuple[str, ...]:
    """Where a gateway listens if nothing else is set: on the loopback interface and, if it has one, its node's address.

    >>> own_hosts("10.0.0.7"), own_hosts("127.0.0.1")
    (('127.0.0.1', '10.0.0.7'), ('127.0.0.1',))
    """
    return tuple(dict.fromkeys((LOOPBACK, node_address)))


def build_application(node_id: str, gateways: int, home: str, stamp: str) -> serve.Application:
    """Builds the application of one node's gateways.

    Args:
        node_id: Ray's id of the node. They run there or nowhere.
        gateways: how many, sharing the port.
        home: the deployer's home folder.
        stamp: of the deployment that the node must have.
    """
    deployment = serve.deployment(
        name="gateway",
        num_replicas=gateways,
        # No CPUs: the mark on the node decides, and the head of a large cluster often offers none.
        ray_actor_options={"num_cpus": 0, "label_selector": {NODE_ID_LABEL: node_id}},
        health_check_period_s=2.0,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=8.0,
        max_constructor_retry_count=3,
    )(NodeGateways)
    application: serve.Application = deployment.bind(home, stamp)
    return application
