"""Keeps the inventory (`divisions.inventory`) in the background: nobody waits for a registry or a store.

Each source has a loop and a thread of its own. So one that hangs leaves the others their turn, and what it last told
stands. It counts as unreachable when it has not answered for `SILENT_S`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from divisions.clock import Clock
from divisions.inventory import FeatureFreshness, Inventory
from divisions.settings import Settings
from router.control import counting
from router.scaling.placement import Cluster

log = logging.getLogger(__name__)

READ_S = 15.0
SERVER_S = 60.0
"""How often a tracking server is asked: it may have thousands of versions, in pages of a hundred."""
SILENT_S = 150.0
REACHABLE = ("registry", "artifacts")
SAMPLED = 100
"""Customers whose stored features are looked at: the newest of them is nearly as new as the newest of all."""
ENGINES = "engines"

Facts = dict[str, Any]
"""Values for fields of `Inventory`."""


class InventoryKeeper:
    """See the module.

    Args:
        sources: what reads some fields, by name, and how often. It may block, and may fail in any way.
        clock: tells how long a source has been silent.
    """

    def __init__(self, sources: dict[str, tuple[Callable[[], Facts], float]], clock: Clock) -> None:
        self._sources = sources
        self._now_s = clock.monotonic_s
        self._threads = ThreadPoolExecutor(max(1, len(sources)), thread_name_prefix="inventory")
        self._facts: Facts = {}
        self._heard_s = dict.fromkeys(sources, self._now_s())
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Reads all sources for ever."""
        await asyncio.gather(*[self._keep(name) for name in self._sources])

    async def _keep(self, name: str) -> None:
        read, every_s = self._sources[name]
        while True:
            await self.take(name, read)
            await asyncio.sleep(every_s)

    async def take(self, name: str, read: Callable[[], Facts]) -> None:
        """Reads one source once."""
        try:
            facts = await asyncio.get_running_loop().run_in_executor(self._threads, read)
        except Exception as error:  # noqa: BLE001  # whatever a client raises; the metric tells that it is unreachable
            if str(error) != self._told.get(name):
                self._told[name] = str(error)
                log.warning("the inventory goes without %s: %s", name, error)
            return
        self._facts |= facts
        self._heard_s[name] = self._now_s()
        self._told.pop(name, None)

    def inventory(self, cluster: Cluster | None) -> Inventory:
        """What is known now."""
        now_s = self._now_s()
        silent = tuple(name for name in REACHABLE if self._is_silent(name, now_s))
        return Inventory(**self._facts, gpus=counting.gpus(cluster), unreachable=silent)

    def _is_silent(self, name: str, now_s: float) -> bool:
        return name in self._told or now_s - self._heard_s.get(name, now_s) > SILENT_S


def sources(settings: Settings, clock: Clock) -> dict[str, tuple[Callable[[], Facts], float]]:
    """What a controller reads."""
    from divisions.registry import Registry
    from divisions.registry_home import is_server
    from divisions.schedule.state_file import read_schedule

    registry = Registry(settings.home, settings.tracking_uri)
    path = settings.home / "features" / "online.db"

    def read_registry() -> Facts:
        return {
            "versions": counting.versions(registry.list_versions()),
            "runs": counting.runs(registry.count_runs()),
        }

    def read_pipelines() -> Facts:
        return {"pipelines": counting.pipelines(read_schedule(settings.home), clock.wall_s())}

    found: dict[str, tuple[Callable[[], Facts], float]] = {
        "registry": (read_registry, SERVER_S if is_server(settings.tracking_uri) else READ_S),
        "artifacts": (lambda: probe_artifacts(settings), READ_S),
        "pipelines": (read_pipelines, READ_S),
        "plans": (lambda: read_plans(settings.home / ENGINES), READ_S),
    }
    if not settings.online_store:
        found["features"] = (lambda: read_features(path), SERVER_S)
    return found


def probe_artifacts(settings: Settings) -> Facts:
    """Raises `DivisionsError` or `OSError` if the store of bundles does not answer."""
    from divisions.artifacts.store import open_store
    from divisions.oci.reference import names_repository

    shared = None if names_repository(settings.artifacts) else open_store(settings.artifacts, settings.s3)
    if shared is None:
        os.statvfs(settings.home)
    elif shared.filesystem.type_name == "local":
        os.statvfs(shared.root)  # Arrow takes a folder that is not mounted for an empty one.
    else:
        shared.has("divisions", "probe")
    return {}


def read_plans(folder: Path) -> Facts:
    """The compiled engines that this node keeps."""
    try:
        sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.startswith("plan-")]
    except FileNotFoundError:
        sizes = []
    return {"plans": len(sizes), "plan_bytes": sum(sizes)}


def read_features(path: Path) -> Facts:
    """How new the stored features of each endpoint are, by a sample of its customers."""
    from divisions.online_store import newest_event_s, stored_endpoints

    found = []
    for endpoint in stored_endpoints(path):
        newest_s = newest_event_s(path, endpoint, [number / SAMPLED for number in range(SAMPLED)])
        if newest_s is not None:
            found.append(FeatureFreshness(endpoint, newest_s))
    return {"features": tuple(found)}
