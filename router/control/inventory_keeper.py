"""Keeps the inventory (`divisions.inventory`) in the background: nobody waits for a registry or a store. What the page
shows beside it (`divisions.house`) is read with it.

Each source has a loop and a thread of its own. So one that hangs leaves the others their turn, and what it last told
stands. It counts as unreachable when it has not answered for `SILENT_S`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from divisions.clock import Clock
from divisions.house import Source
from divisions.inventory import FeatureFreshness, Inventory, LiveAuc
from divisions.outcomes import read_reports
from divisions.settings import Settings
from router.control import counting
from router.house.redaction import redacted
from router.scaling.placement import Cluster

log = logging.getLogger(__name__)

READ_S = 15.0
SERVER_S = 60.0
"""How often a tracking server is asked: it may have thousands of versions, in pages of a hundred."""
LIVELY_S = 5.0
"""Where reading costs a millisecond, and people watch: a run that goes on, a schedule."""
STEP_S = 1.0
"""A file's time is looked at; only a deployment that goes on is read."""
SILENT_S = 150.0
REACHABLE = ("registry", "artifacts")
SAMPLED = 100
"""Customers whose stored features are looked at: the newest of them is nearly as new as the newest of all."""
ENGINES = "engines"

Facts = dict[str, Any]
"""Values for fields of `Inventory`, and further ones for the page."""
_FIELDS = frozenset(Inventory.__struct_fields__)
MOST_REASON = 300


class InventoryKeeper:
    """See the module.

    Args:
        sources: what reads some fields, by name, and how often. It may block, and may fail in any way.
        clock: tells how long a source has been silent.
    """

    def __init__(self, sources: dict[str, tuple[Callable[[], Facts], float]], clock: Clock) -> None:
        self._sources = sources
        self._now_s = clock.monotonic_s
        self._wall_s = clock.wall_s
        self._read_s: dict[str, float] = {}
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
        self._read_s[name] = self._wall_s()
        self._told.pop(name, None)

    def inventory(self, cluster: Cluster | None) -> Inventory:
        """What is known now."""
        now_s = self._now_s()
        silent = tuple(name for name in REACHABLE if self._is_silent(name, now_s))
        known = {name: fact for name, fact in self._facts.items() if name in _FIELDS}
        return Inventory(**known, gpus=counting.gpus(cluster), unreachable=silent)

    def fact(self, name: str) -> Any:
        """What a source told last; None while it has told nothing."""
        return self._facts.get(name)

    def reach(self) -> tuple[Source, ...]:
        """Every source: whether it answers, when it last did, and why it does not."""
        now_s = self._now_s()
        return tuple(self._source(name, now_s) for name in self._sources)

    def _source(self, name: str, now_s: float) -> Source:
        read_s, reason = self._read_s.get(name), redacted(self._told.get(name, ""))[:MOST_REASON]
        if self._is_silent(name, now_s):
            return Source(name, "away", read_s, reason or f"it has not answered for {SILENT_S:g} s")
        # Rounded to the minute: that it was read again is no news.
        return Source(name, "ok", read_s // 60 * 60) if read_s is not None else Source(name, "waiting")

    def _is_silent(self, name: str, now_s: float) -> bool:
        return name in self._told or now_s - self._heard_s.get(name, now_s) > SILENT_S


def sources(settings: Settings, clock: Clock) -> dict[str, tuple[Callable[[], Facts], float]]:
    """What a controller reads."""
    from divisions.registry import Registry
    from divisions.registry_home import is_server
    from divisions.schedule.state_file import read_schedule
    from router.control.house_sources import DeploymentReader, RunReader
    from router.control.pipeline_reader import PipelineReader

    registry, alone = Registry(settings.home, settings.tracking_uri), threading.Lock()
    path = settings.home / "features" / "online.db"
    files = PipelineReader(settings.home)
    is_remote = is_server(settings.tracking_uri)

    def read_registry() -> Facts:
        with alone:
            versions, runs = registry.list_versions(), registry.count_runs()
        return {
            "versions": counting.versions(versions),
            "runs": counting.runs(runs),
            "registered": tuple(versions),
        }

    reader = RunReader(registry, settings.home)

    def read_experiments() -> Facts:
        with alone:  # MLflow makes its client when it is first used, and two threads must not do that at once
            return reader()

    def read_pipelines() -> Facts:
        schedule, now_s = read_schedule(settings.home), clock.wall_s()
        return {
            "pipelines": counting.pipelines(schedule, now_s),
            "pipeline_files": files.read(schedule, now_s),
        }

    found: dict[str, tuple[Callable[[], Facts], float]] = {
        "registry": (read_registry, SERVER_S if is_remote else READ_S),
        "experiments": (read_experiments, SERVER_S if is_remote else LIVELY_S),
        "artifacts": (lambda: probe_artifacts(settings), READ_S),
        "pipelines": (read_pipelines, LIVELY_S),
        "deployments": (DeploymentReader(settings.home), STEP_S),
        "outcomes": (lambda: read_outcomes(settings.home), READ_S),
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


def read_outcomes(home: Path) -> Facts:
    """What the last report of each endpoint says of its versions."""
    found = []
    for report in read_reports(home):
        below = {alert.version for alert in report.alerts}
        for each in report.versions:
            if each.auc is None or each.lower is None or each.upper is None or each.calibration_error is None:
                continue
            found.append(
                LiveAuc(
                    report.endpoint,
                    each.version,
                    each.predictions,
                    each.auc,
                    each.lower,
                    each.upper,
                    each.calibration_error,
                    report.gate,
                    each.version in below,
                )
            )
    return {"live_aucs": tuple(found)}


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
