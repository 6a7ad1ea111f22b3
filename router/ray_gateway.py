"""The gateway as a Ray Serve deployment. Ray places, counts and restarts it; it serves HTTP by itself.

The gateway lives on a thread of its own with its own uvloop: Ray's loop, which heartbeats and health checks share,
never waits for a request, nor a request for Ray.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import threading
import uuid
from typing import Any

import msgspec
import ray
import uvloop
from ray import serve

from divisions.clock import SystemClock
from divisions.control import GatewayReport, ReplicaAddress, RoutingTable, VersionSpec
from divisions.errors import ClusterError, DivisionsError, NotRunningError
from divisions.online_store import OnlineStoreReader
from divisions.settings import Settings, load_settings
from router.gateway import Gateway, GatewayIdentity
from router.local_channel import Hosted

log = logging.getLogger(__name__)

APP_NAME = "divisions-gateway"
CONTROLLER_NAME = "divisions-controller"
NAMESPACE = "divisions"
CALL_TIMEOUT_S = 10.0
ENGINE_LOADER = "serving.hosted:open_hosted"
"""Opens a version's engine in this process, for ``serving.placement: in_process``."""


class RayControllerLink:
    """The controller's actor, looked up by name and looked up again whenever it does not answer."""

    def __init__(self) -> None:
        self._actor: Any = None

    async def poll_table(self, known_epoch: int, timeout_s: float) -> RoutingTable:
        data = await self._call("poll_table", known_epoch, timeout_s, timeout_s=timeout_s + CALL_TIMEOUT_S)
        return msgspec.msgpack.decode(data, type=RoutingTable)

    async def report(self, report: GatewayReport) -> None:
        await self._call("report", msgspec.msgpack.encode(report))

    async def register_replica(self, address: ReplicaAddress) -> None:
        await self._call("register_replica", msgspec.msgpack.encode(address))

    async def start_rollout(self, spec_json: bytes, force: bool) -> bytes:
        result: bytes = await self._call("start_rollout", spec_json, force)
        return result

    async def command(self, command_json: bytes) -> bytes:
        result: bytes = await self._call("command", command_json)
        return result

    async def status(self) -> bytes:
        result: bytes = await self._call("status")
        return result

    async def _call(self, method: str, *arguments: object, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        try:
            if self._actor is None:
                loop = asyncio.get_running_loop()
                self._actor = await loop.run_in_executor(None, _find_controller)
            reference = getattr(self._actor, method).remote(*arguments)
            return await asyncio.wait_for(asyncio.wrap_future(reference.future()), timeout_s)
        except (ray.exceptions.RayActorError, ValueError, TimeoutError) as error:
            self._actor = None
            raise NotRunningError(
                f"the controller does not answer ({type(error).__name__})", remedy="Ray restarts it; try again shortly"
            ) from None
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, DivisionsError) else error from None


def _find_controller() -> Any:
    return ray.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)


class GatewayThread(threading.Thread):
    """Runs one gateway on its own event loop."""

    def __init__(self, settings: Settings, identity: GatewayIdentity) -> None:
        super().__init__(name="gateway", daemon=True)
        self._settings = settings
        self._identity = identity
        self._started = threading.Event()
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gateway: Gateway | None = None
        self._ended: asyncio.Event | None = None

    def run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live())

    def _load(self, spec: VersionSpec) -> Hosted:
        # By name, because router and serving do not import each other: the channel is what they share.
        module, _, function = ENGINE_LOADER.partition(":")
        hosted: Hosted = getattr(importlib.import_module(module), function)(msgspec.json.encode(spec), self._settings)
        return hosted

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        path = self._settings.home / "features" / "online.db"
        store = functools.lru_cache(lambda endpoint: OnlineStoreReader(path, endpoint))
        try:
            self._gateway = Gateway(
                self._settings, self._identity, RayControllerLink(), store, SystemClock(), self._load
            )
            await self._gateway.start()
        except Exception as error:  # noqa: BLE001  # Carried over to the thread that waits for us.
            self._failure = error
            return
        finally:
            self._started.set()
        await self._ended.wait()
        await self._gateway.stop()

    def start_and_wait(self, timeout_s: float = 30.0) -> None:
        """Starts; returns when the port is open.

        Raises:
            ClusterError: it could not be opened.
        """
        self.start()
        self._started.wait(timeout_s)
        if self._failure is not None:
            raise ClusterError(
                f"the gateway cannot listen on {self._settings.host}:{self._settings.port}: {self._failure}",
                remedy="choose another port with DIVISIONS_PORT",
            )

    def stop(self) -> None:
        if self._loop is not None and self._ended is not None and self.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)

    @property
    def is_serving(self) -> bool:
        return self.is_alive() and self._gateway is not None and self._gateway.is_alive


@serve.deployment(
    name="gateway",
    health_check_period_s=2.0,
    health_check_timeout_s=10.0,
    graceful_shutdown_timeout_s=8.0,
    max_constructor_retry_count=3,
)
class GatewayDeployment:
    """One gateway process."""

    def __init__(self) -> None:
        logging.getLogger("router").setLevel(logging.INFO)
        settings = load_settings()
        identity = GatewayIdentity(
            gateway_id=uuid.uuid4().hex[:8],
            node_id=ray.get_runtime_context().get_node_id(),
            control_token=(settings.home / "token").read_text().strip(),
            channel_token=(settings.home / "channel_token").read_bytes().strip(),
        )
        self._thread = GatewayThread(settings, identity)
        self._thread.start_and_wait()

    def check_health(self) -> None:
        if not self._thread.is_serving:
            raise ClusterError("the gateway's thread has ended")

    async def __del__(self) -> None:
        self._thread.stop()
        await asyncio.to_thread(self._thread.join, 6.0)


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
        raise ClusterError(f"the gateways do not start: {error}", remedy="see the logs folder of the home") from None
