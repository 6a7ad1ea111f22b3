"""Serves one bundle: checks it, warms its engine, and answers until SIGTERM.

The gateway listens before the engine is warm, so that ``/ping`` says 503 rather than nothing. A bundle that is damaged,
or whose engine cannot be opened, ends the process with one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import random
import secrets
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.artifacts.local import bundles_folder
from divisions.artifacts.release_folder import RELEASE, STATEMENTS
from divisions.bundle import MANIFEST, Manifest, bundle_address, read_bundle
from divisions.clock import SystemClock
from divisions.control import RoutingTable, VersionSpec
from divisions.errors import BundleError, DivisionsError, PortInUseError
from divisions.names import NAME_RULE, is_name
from divisions.settings import Settings, is_given

if TYPE_CHECKING:
    from router.predict.in_process_channel import InProcessEngine

MODEL_FOLDER = Path("/opt/ml/model")
"""Where SageMaker unpacks ``model.tar.gz``; read-only."""
PORT = 8080
REQUEST_TIMEOUT_MS = 60_000
"""SageMaker's own limit for a real-time request."""
MAX_BODY_BYTES = 26_214_400
"""SageMaker sends at most 25 MB in real time; parts of a batch transform are 6 MB unless the job says otherwise."""
DRAIN_S = 20.0
"""SageMaker kills a container 30 s after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Served:
    """What is served: a checked bundle, and the names that replies have."""

    folder: Path
    manifest: Manifest
    endpoint: str
    version: str


def find_bundle(folder: Path, sha256: str = "", endpoint: str = "", version: str = "") -> Served:
    """The bundle in a folder, every byte checked.

    Args:
        folder: has the bundle's files, or one folder with them.
        sha256: what the bundle must be; empty for any.
        endpoint: its name in replies; empty for that of the label, such as ``churn``.
        version: its name in replies; empty for the first digits of its hash.

    Raises:
        BundleError: there is none, it is damaged, or another.
    """
    within = folder if (folder / MANIFEST).is_file() else _only_folder(folder)
    manifest = read_bundle(within, sha256 or None)
    name = endpoint or manifest.schema.label
    if not is_name(name):
        raise BundleError(
            f"{name[:80]!r} cannot be an endpoint: names are {NAME_RULE}", remedy="name it with --endpoint"
        )
    return Served(within, manifest, name, version or manifest.sha256[:8])


def container_settings(settings: Settings, home: Path, port: int) -> Settings:
    """The settings of a process that serves one bundle: limits as SageMaker's, where the environment says nothing."""
    return replace(
        settings,
        home=home,
        port=port,
        artifacts="",
        online_store="",
        request_timeout_ms=settings.request_timeout_ms if is_given("request_timeout_ms") else REQUEST_TIMEOUT_MS,
        max_body_bytes=settings.max_body_bytes if is_given("max_body_bytes") else MAX_BODY_BYTES,
    )


def serve(settings: Settings, served: Served, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        on_ready: told the engine's name when it is warm.

    Raises:
        DivisionsError: the engine cannot be opened, or the port is in use.
    """
    from router.gateway import native

    if settings.compiled:
        native.activate()
    # Not earlier: these imports must find the compiled hot path, if there is one.
    import uvloop

    from deploy.container.fixed_link import table_of
    from serving.engines.cuda_driver import probe_gpus

    with tempfile.TemporaryDirectory(prefix="divisions-serve-") as home:
        changed = container_settings(settings, Path(home), port)
        manifest = served.manifest
        link = bundles_folder(changed.home) / bundle_address(manifest.model, manifest.sha256)
        link.parent.mkdir(parents=True)
        link.symlink_to(served.folder.absolute())
        # An image has the signed statements beside its bundle; with trusted keys, the engine's bundle needs one.
        statements = served.folder.parent / RELEASE / STATEMENTS
        if statements.is_dir():
            place = changed.home / STATEMENTS / bundle_address(manifest.model, manifest.sha256)
            place.parent.mkdir(parents=True)
            place.symlink_to(statements.absolute())
        # The container has the machine's GPUs for itself; replicas of a cluster share them.
        table = table_of(manifest, served.endpoint, served.version, 1.0 if probe_gpus().gpus else 0.0)
        uvloop.run(_live(changed, table, on_ready))


async def _live(settings: Settings, table: RoutingTable, on_ready: Callable[[str], None]) -> None:
    from deploy.container.fixed_link import FixedLink
    from router.gateway.gateway import Gateway, GatewayIdentity
    from router.gateway.lifecycle import GC_THRESHOLDS, feature_source

    clock = SystemClock()
    ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    load = functools.partial(_load, settings, asyncio.get_running_loop(), ending, on_ready)
    identity = GatewayIdentity("serve", "here", secrets.token_hex(16), secrets.token_bytes(16))
    gateway = Gateway(settings, identity, FixedLink(table), feature_source(settings, clock), clock, load)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _resolve, ending, None)
    try:
        await gateway.start()
    except OSError as error:
        raise PortInUseError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}",
            remedy="choose another port with --port",
        ) from None
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        await ending
    finally:
        await gateway.stop(DRAIN_S)


def _load(
    settings: Settings,
    loop: asyncio.AbstractEventLoop,
    ending: asyncio.Future[None],
    on_ready: Callable[[str], None],
    spec: VersionSpec,
) -> InProcessEngine:
    """Opens the engine, in a thread; a failure ends the process."""
    from serving.replica.in_process import HostedEngine
    from serving.replica.replica import load_engine

    try:
        engine = load_engine(spec, settings, random.Random(spec.bundle_sha256))
        hosted = HostedEngine(engine, spec.max_batch, SystemClock().monotonic_s)
    except DivisionsError as error:
        loop.call_soon_threadsafe(_resolve, ending, error)
        raise
    on_ready(hosted.engine_name)
    return hosted


def _resolve(ending: asyncio.Future[None], error: DivisionsError | None) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):  # it ends already
        if error is None:
            ending.set_result(None)
        else:
            ending.set_exception(error)


def _only_folder(folder: Path) -> Path:
    try:
        found = [path for path in folder.iterdir() if (path / MANIFEST).is_file()]
    except OSError as error:
        raise BundleError(
            f"there is no bundle in {folder}: {error.strerror}", remedy="name its folder with --model"
        ) from None
    if len(found) != 1:
        raise BundleError(
            f"{folder} has {len(found)} bundles, and one is served",
            remedy="unpack a bundle there (`divisions models package` writes one), or name its folder with --model",
        )
    return found[0]
