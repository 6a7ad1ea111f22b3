"""One replica of one model version: from a bundle to a warm engine behind a socket. Does not import Ray."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import uvloop

from divisions.artifacts.cache import Bundles
from divisions.bundle import ONNX_FP16, read_model
from divisions.certificates.names import Credentials
from divisions.clock import Clock
from divisions.control import VersionSpec
from divisions.errors import BundleError, ChannelError, UnhealthyReplicaError
from divisions.settings import Settings, runtime_dir
from serving.compile.opening import EngineOpener, EngineRequest, Models
from serving.engines.capabilities import Capabilities, probe_capabilities
from serving.engines.protocol import Engine
from serving.engines.selection import OpenedEngine
from serving.replica.channel_server import ChannelConfig, ChannelServer
from serving.replica.faults import FaultyEngine, check_allowed
from serving.replica.socket_folder import prepare_folder, remove_stale, socket_path

START_TIMEOUT_S = 120.0
"""Time for loading and warming. A CPU needs seconds; engines that compile need more."""
MAX_SILENCE_S = 5.0
"""An event loop or a batch that takes longer than this counts as hung."""
MAX_CONSECUTIVE_FAILURES = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses and the engine's name of a started replica. ``tcp`` is ``host:port`` or empty."""

    unix_path: str
    tcp: str
    engine: str


def load_engine(spec: VersionSpec, settings: Settings, rng: random.Random) -> Engine:
    """The engine of `open_version`."""
    return open_version(spec, settings, rng).engine


def open_version(
    spec: VersionSpec,
    settings: Settings,
    rng: random.Random,
    probe: Callable[[float], Capabilities] = probe_capabilities,
) -> OpenedEngine:
    """Checks a version's bundle, opens its engine, and adds the faults that the version asks for.

    Raises:
        BundleError: the bundle is not the registered one, or its model cannot be served.
        EngineUnavailableError: the engine that the version demands is not available here.
        OverCommitError: the GPU has no room for this replica.
        FaultsRefusedError: the version asks for faults, and they are not allowed.
    """
    check_allowed(spec.faults, settings.allow_faults)
    folder, manifest = Bundles.of(settings).open(spec.bundle_path, spec.bundle_sha256)
    if manifest.schema != spec.schema:
        raise BundleError(
            f"version {spec.version} of {spec.model} has another feature schema than its bundle",
            remedy="register the bundle again",
        )
    has_half = spec.num_gpus > 0 and ONNX_FP16 in manifest.files
    models = Models(
        whole=read_model(folder, manifest),
        half=read_model(folder, manifest, ONNX_FP16) if has_half else b"",
        columns=spec.schema.num_columns,
    )
    request = EngineRequest(spec.app_name, spec.engine, spec.num_gpus, spec.vram_gb, spec.max_batch)
    opened = EngineOpener(request, models, settings.home, runtime_dir(settings.home)).open(probe(spec.num_gpus))
    return OpenedEngine(FaultyEngine(opened.engine, spec.faults, rng), opened.passed_over) if spec.faults else opened


def read_channel_token(home: Path) -> bytes:
    """The cluster's channel token. It is empty if the cluster has none; then replicas do not listen on TCP."""
    path = home / "channel_token"
    return path.read_bytes().strip() if path.is_file() else b""


class Replica:
    """Runs a `ChannelServer` on its own event loop and thread, so that nothing else delays a batch."""

    def __init__(self, spec: VersionSpec, engine: Engine, settings: Settings, clock: Clock) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        config = ChannelConfig(spec.version, spec.max_batch, read_channel_token(settings.home))
        self._server = ChannelServer(engine, config, clock.monotonic_s)
        self._listening: Future[Listening] = Future()
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        self._drain_s = self._leave_s = 0.0
        self._thread = threading.Thread(target=self._run, name="channel", daemon=True)

    def start(self, replica_id: str, pid: int) -> Listening:
        """Warms the engine and listens. Returns when gateways can connect.

        Raises:
            BundleError: the model's result is not ``float32[N]``.
            ChannelError: the socket's folder is not safe, or TCP was requested without a token.
        """
        folder = runtime_dir(self._settings.home)
        prepare_folder(folder)
        remove_stale(folder)
        self._path = socket_path(folder, replica_id, pid)
        self._thread.start()
        return self._listening.result(START_TIMEOUT_S)

    def install(self, credentials: Credentials) -> None:
        """Takes a certificate for its TCP port: the first one opens the port, later ones renew it."""
        self._server.install(credentials)

    def check_health(self) -> None:
        """Raises:
        UnhealthyReplicaError: the channel has ended or hangs, or the engine fails every batch.
        """
        server, runner = self._server, self._server.runner
        if not self._thread.is_alive():
            raise UnhealthyReplicaError("the channel's thread has ended")
        if (silence_s := self._clock.monotonic_s() - server.last_tick_s) > MAX_SILENCE_S:
            raise UnhealthyReplicaError(f"the channel's event loop has not run for {silence_s:.1f} s")
        if runner.busy_s > MAX_SILENCE_S:
            raise UnhealthyReplicaError(f"the engine has been at one batch for {runner.busy_s:.1f} s")
        if runner.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            raise UnhealthyReplicaError(f"the engine failed {runner.consecutive_failures} batches in a row")

    def drain(self, timeout_s: float, leave_s: float = 0.0) -> None:
        """Answers its batches, refuses new ones, closes its connections and removes its socket.

        Args:
            timeout_s: how long its batches may take.
            leave_s: how long it goes on as before, or until no gateway is connected any more.
        """
        self._drain_s, self._leave_s = timeout_s, leave_s
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(leave_s + timeout_s + 1.0)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:  # the edge of the thread: `start` raises it, `check_health` finds the thread dead
            if not self._listening.done():
                self._listening.set_exception(error)
            else:
                log.exception("the channel has ended")

    async def _serve(self) -> None:
        host = self._settings.channel_host
        try:
            tcp = await self._server.start(
                self._path, (host, 0) if host else None, is_encrypted=self._settings.channel_tls
            )
            self._listening.set_result(Listening(str(self._path), tcp, self._engine.name))
            await self._stop.wait()
            await self._server.drain(self._drain_s, self._leave_s)
        except OSError as error:
            raise ChannelError(f"cannot listen on {self._path}: {error}") from None
        finally:
            self._path.unlink(missing_ok=True)
