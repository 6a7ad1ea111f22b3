"""The gateway's end of traces: starts the exporter's process, sends it what the buffer has, reads its counts.

Every call returns at once. An exporter that stands still costs traces when the buffer is full. Both kinds of loss are
counted, and neither is ever in a request's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from divisions.clock import Clock
from divisions.environment import trace_sampler
from divisions.settings import Settings
from divisions.traces.otlp import NOT_INSTALLED, is_installed
from divisions.traces.sampling import sampling_of
from router.gateway.side_process import END_S, SideProcess, start_module
from router.predict.trace_buffer import TraceBuffer
from router.prediction_log.frames import Cutter
from router.traces.frames import Requests, TraceCounts, decode_counts, encode

log = logging.getLogger(__name__)

FRAME_RECORDS = 1_024
"""Of one sweep. Encoding them takes about half a millisecond."""
START = Callable[[int, socket.socket], "subprocess.Popen[bytes]"]


@dataclass(frozen=True, slots=True)
class TraceHealth:
    """How the export fares: sampled requests that the collector took, and that were lost, by reason."""

    exported: int
    lost: dict[str, int]


def start_process(number: int, theirs: socket.socket) -> subprocess.Popen[bytes]:
    return start_module("router.traces.process", theirs)


def buffer_of(settings: Settings, clock: Clock) -> TraceBuffer | None:
    """Takes what is traced; None if nothing is. That never keeps a gateway from serving."""
    if not settings.traces:
        return None
    if not is_installed():
        log.error("no traces: %s", NOT_INSTALLED)
        return None
    sampling, problem = sampling_of(*trace_sampler())
    if problem:
        log.warning("%s", problem)
    bits = random.SystemRandom().getrandbits(64)
    draws = random.Random(bits)
    return TraceBuffer(sampling.follows_parent, sampling.bound, lambda: draws.getrandbits(64), clock.monotonic_s)


class TraceLink:
    """See the module. Lives on one event loop.

    Args:
        buffer: the hot path fills it.
        clock: the time.
        start: starts the exporter with a socket; takes the number of the start, too.
    """

    def __init__(self, buffer: TraceBuffer, clock: Clock, start: START = start_process) -> None:
        self._buffer = buffer
        self._clock = clock
        self._exporter = SideProcess("the exporter of traces", clock, start, self._greeting)
        self._cutter = Cutter()
        self._handed = 0
        self._counts = TraceCounts(0, 0, "")
        self._exported = 0
        self._lost = {"exporter": 0, "collector": 0}
        self._is_closed = False

    def _greeting(self) -> bytes:
        self._cutter = Cutter()
        return b""

    def sweep(self) -> None:
        """Sends what there is to send, and reads counts. Call it every few milliseconds."""
        if self._is_closed:
            return
        if not self._exporter.is_there:
            self._exporter.restart()
            return
        try:
            if not self._exporter.has_unsent and len(self._buffer):
                records = self._buffer.take(FRAME_RECORDS)
                self._handed += len(records)
                offset_s = self._clock.wall_s() - self._clock.monotonic_s()
                self._exporter.give(encode(Requests(offset_s, records)))
            self._exporter.send()
            for body in self._cutter.feed(self._exporter.receive()):
                self._counts = decode_counts(body)
        except (ConnectionError, ValueError) as error:
            self._ended(str(error))

    def _ended(self, why: str) -> None:
        """The exporter is gone, and with it what it had in its memory."""
        self._exporter.ended(why)
        counts = self._counts
        self._lost["exporter"] += self._handed - counts.exported - counts.lost
        self._lost["collector"] += counts.lost
        self._exported += counts.exported
        self._handed, self._counts = 0, TraceCounts(0, 0, "")

    async def close(self) -> None:
        """Sends the rest and lets the exporter end; it is not waited for longer than `END_S`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._exporter.until_started()
                while self._exporter.is_there and (self._exporter.has_unsent or len(self._buffer)):
                    self.sweep()
                    await asyncio.sleep(0.005)
                self._exporter.no_more()
                self._is_closed = True
                await self._exporter.until_ended()
        self._is_closed = True
        self._exporter.hang_up()

    def health(self) -> TraceHealth:
        """For metrics."""
        lost = {**self._lost, "buffer": self._buffer.lost}
        lost["collector"] += self._counts.lost
        return TraceHealth(self._exported + self._counts.exported, lost)
