"""A version's engine inside the gateway's process, for ``serving.placement: in_process``.

It gets the same requests and gives the same replies as a replica behind a socket.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from divisions.clock import SystemClock
from divisions.control import VersionSpec
from divisions.settings import Settings
from divisions.wire import Request
from serving.engines.protocol import Engine
from serving.replica.replica import load_engine
from serving.replica.runner import BatchRunner, measure_inline_rows


class HostedEngine:
    """A warm engine and its runner."""

    def __init__(self, engine: Engine, max_batch: int, now_s: Callable[[], float]) -> None:
        engine.warm(max_batch)
        self.engine_name = engine.name
        self._inline_rows = measure_inline_rows(engine, max_batch, now_s)
        self._runner = BatchRunner(engine, now_s)

    def answer_quickly(self, request: Request, read_s: float) -> bytes | None:
        """The reply, if the batch is fast enough to run in the caller's thread; else None."""
        if request.rows <= self._inline_rows and self._runner.is_idle:
            return self._runner.answer(request, read_s)
        return None

    def submit(self, request: Request, read_s: float, deliver: Callable[[bytes], None]) -> None:
        """Runs the batch in the engine's thread, which calls ``deliver``. The caller must then call `delivered`."""
        self._runner.submit(request, read_s, deliver)

    def delivered(self) -> None:
        self._runner.delivered()

    def close(self) -> None:
        self._runner.stop()


def open_hosted(spec_json: bytes, settings: Settings) -> HostedEngine:
    """Loads and warms a version's engine; takes seconds.

    Raises:
        BundleError: the bundle is not the registered one, or its model cannot be served.
        FaultsRefusedError: the version asks for faults, and they are not allowed.
    """
    # A gateway has no GPU: Ray gives it none, and it would have to share one between all versions that it hosts.
    spec = msgspec.structs.replace(msgspec.json.decode(spec_json, type=VersionSpec), num_gpus=0.0)
    clock = SystemClock()
    engine = load_engine(spec, settings, random.Random(spec.bundle_sha256))
    return HostedEngine(engine, spec.max_batch, clock.monotonic_s)
