"""Versions that this gateway runs in its own process: loads them when the table names them, and registers them.

Loading takes seconds and happens in a thread. Until it is done, the version has no channel here. The controller raises
its weight only once every gateway has registered it as warm.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence

from divisions.clock import Clock
from divisions.control import ReplicaAddress, VersionSpec
from divisions.errors import DivisionsError
from router.predict.controller_link import ControllerLink
from router.predict.in_process_channel import InProcessEngine

log = logging.getLogger(__name__)

Loader = Callable[[VersionSpec], InProcessEngine]
LoadedEngines = dict[str, tuple[ReplicaAddress, InProcessEngine]]
"""Warm engines with their addresses, by application."""
RETRY_S = 5.0


class InProcessEngines:
    """See the module.

    Args:
        load: loads and warms one version; may take seconds and raise.
        loaded: the versions that are ready, by application. This object alone changes it.
        on_loaded: called on the loop with the application of each version that becomes ready.
    """

    def __init__(
        self,
        load: Loader,
        link: ControllerLink,
        gateway_id: str,
        node_id: str,
        clock: Clock,
        loaded: LoadedEngines,
        on_loaded: Callable[[str], None],
    ) -> None:
        self._load = load
        self._link = link
        self._gateway_id = gateway_id
        self._node_id = node_id
        self._clock = clock
        self._specs: dict[str, VersionSpec] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._loaded = loaded
        self._on_loaded = on_loaded

    def want(self, specs: Sequence[VersionSpec]) -> None:
        """Applies a new table: begins to load missing versions, drops those that it no longer names."""
        wanted = {spec.app_name: spec for spec in specs}
        for name in [name for name, spec in self._specs.items() if wanted.get(name) != spec]:
            self._drop(name)
        for name, spec in wanted.items():
            if name not in self._specs:
                self._specs[name] = spec
                self._loading[name] = asyncio.get_running_loop().create_task(self._bring_up(spec))

    def _drop(self, name: str) -> None:
        del self._specs[name]
        loading = self._loading.pop(name, None)
        if loading is not None:
            loading.cancel()
        loaded = self._loaded.pop(name, None)
        if loaded is not None:
            loaded[1].close()

    async def _bring_up(self, spec: VersionSpec) -> None:
        name = spec.app_name
        while True:
            try:
                engine = await asyncio.to_thread(self._load, spec)
                break
            except Exception as error:  # noqa: BLE001  # Any failure of a bundle: the gateway goes on serving.
                log.error("%s cannot be run in this process: %s", name, error)
                await asyncio.sleep(RETRY_S)
        address = ReplicaAddress(
            replica_id=f"{name}#{self._gateway_id}",
            app_name=name,
            node_id=self._node_id,
            unix_path="",
            tcp="",
            max_batch=spec.max_batch,
            pid=os.getpid(),
            engine=f"{engine.engine_name} in gateway",
            started_at_s=self._clock.wall_s(),
        )
        self._loaded[name] = (address, engine)
        self._on_loaded(name)
        await self.beat()

    async def beat(self) -> None:
        """Registers every version that runs here with the controller."""
        for address, _ in list(self._loaded.values()):
            try:
                await self._link.register_replica(address)
            except DivisionsError as error:
                log.debug("%s could not be registered: %s", address.replica_id, error)

    def close(self) -> None:
        for name in list(self._specs):
            self._drop(name)
