"""The gateway as a Ray Serve deployment. Ray places, counts and restarts it; it serves HTTP by itself.

The gateway is a process of its own, a child of Ray Serve's replica. The replica calls the controller for it, see
`router.gateway.child`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import ray
from ray import serve

from divisions.cause import cause_in, ours_in
from divisions.errors import ClusterError, DivisionsError, NotRunningError
from divisions.settings import Settings
from router.gateway.bridge import Argument
from router.gateway.child import STOP_S, GatewayChild
from router.gateway.credentials import CredentialCalls

APP_NAME = "divisions-gateway"
CONTROLLER_NAME = "divisions-controller"
NAMESPACE = "divisions"


class RayController:
    """The controller's actor. It is looked up by name, and again after each call that it does not answer."""

    def __init__(self) -> None:
        self._actor: Any = None

    async def call(self, method: str, arguments: tuple[Argument, ...], timeout_s: float) -> bytes:
        """Calls a method of the controller; one that returns nothing returns no bytes.

        Raises:
            NotRunningError: the controller is away.
            DivisionsError: the controller's own error.
        """
        try:
            if self._actor is None:
                loop = asyncio.get_running_loop()
                self._actor = await loop.run_in_executor(None, _find_controller)
            reference = getattr(self._actor, method).remote(*arguments)
            return await asyncio.wait_for(asyncio.wrap_future(reference.future()), timeout_s) or b""
        except (ray.exceptions.RayActorError, ValueError, TimeoutError) as error:
            self._actor = None
            raise not_running(error) from None
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, DivisionsError) else error from None


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


@serve.deployment(
    name="gateway",
    health_check_period_s=2.0,
    health_check_timeout_s=10.0,
    graceful_shutdown_timeout_s=8.0,
    max_constructor_retry_count=3,
)
class GatewayDeployment:
    """Stands in for one gateway process."""

    def __init__(self) -> None:
        logging.getLogger("router").setLevel(logging.INFO)
        calls = CredentialCalls(RayController().call)
        self._child = GatewayChild(ray.get_runtime_context().get_node_id(), calls.call)
        self._child.start_and_wait()

    def check_health(self) -> None:
        if not self._child.is_serving:
            raise ClusterError("the gateway's process is silent")

    async def __del__(self) -> None:
        self._child.stop()
        await asyncio.to_thread(self._child.join, STOP_S)


def deploy_gateways(settings: Settings) -> None:
    """Starts (or resizes) the gateways; returns when they run.

    Raises:
        ClusterError: they do not come up.
    """
    deployment: Any = GatewayDeployment  # the decorator's type is lost on a type checker
    application = deployment.options(num_replicas=settings.gateways, ray_actor_options={"num_cpus": 0.1}).bind()
    try:
        serve.run(application, name=APP_NAME, route_prefix=None)
    except RuntimeError as error:
        reason = cause_in([str(error)])
        raise ClusterError(f"the gateways do not start: {reason}", remedy="see the logs folder of the home") from None
