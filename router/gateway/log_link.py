"""The gateway's end of the prediction log: starts the writer's process, sends it what the buffer has, reads its counts.

Every call returns at once. A writer that stands still costs the log's rows when the buffer is full, and a writer that
dies is started again. Both are counted, and neither is ever in a request's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from divisions.clock import Clock
from divisions.control import RoutingTable
from divisions.prediction_log import LogCount
from router.predict.answer_log import LogBuffer
from router.prediction_log.frames import Counts, Cutter, Opened, Rows, decode_counts, encode

log = logging.getLogger(__name__)

FRAME_BYTES = 256 << 10
"""Rows of one sweep. Encoding them takes about a tenth of a millisecond."""
READ_BYTES = 64 << 10
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""A writer that has lived so long is started again at once."""
END_S = 3.0
"""How long the gateway's end waits for the writer's. It goes on by itself."""


def start_process(gateway_id: str, number: int, theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Starts the writer of a gateway. ``number`` tells the writers of one gateway apart."""
    name = f"{gateway_id}-{number}" if number else gateway_id
    command = [sys.executable, "-m", "router.prediction_log.process", str(theirs.fileno()), name]
    return subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True)
class LogHealth:
    """How the log fares.

    Attributes:
        versions: rows by version.
        files: that were brought to the log's place.
        waiting_bytes: on this machine, and not yet in the log's place.
        is_reachable: whether the log's place took what was last brought.
    """

    versions: tuple[LogCount, ...] = ()
    files: int = 0
    waiting_bytes: int = 0
    is_reachable: bool = True


class _Known:
    """What is known of one version's rows."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.handed = 0
        """To the present writer."""
        self.kept = 0
        """By writers that have ended."""
        self.lost: dict[str, int] = {}
        """By reason, likewise, and ``writer``: what was in a writer's memory when it died."""
        self.now_kept = 0
        self.now_lost: dict[str, int] = {}
        """What the present writer has told."""


class LogLink:
    """See the module. Lives on one event loop.

    Args:
        buffer: the hot path fills it.
        gateway_id: of this process.
        clock: the time.
        start: starts a writer with this socket; takes the number of the start, too.
    """

    def __init__(
        self,
        buffer: LogBuffer,
        gateway_id: str,
        clock: Clock,
        start: Callable[[str, int, socket.socket], subprocess.Popen[bytes]] = start_process,
    ) -> None:
        self._buffer = buffer
        self._gateway_id = gateway_id
        self._clock = clock
        self._start = start
        self._known: dict[str, _Known] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._starting: asyncio.Task[None] | None = None
        self._num_starts = 0
        self._is_closed = False
        self._started_s = 0.0
        self._not_before_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._unsent = memoryview(b"")
        self._cutter = Cutter()
        self._counts = Counts([], 0, 0, "")
        self._files = 0

    def follow(self, table: RoutingTable) -> None:
        """Takes from a routing table which versions are logged, and starts a writer when there is one."""
        for route in table.endpoints:
            for share in route.versions:
                spec = share.version
                if spec.log is None:
                    continue
                opened = Opened(spec.app_name, route.endpoint, spec.model, spec.version, spec.schema, spec.log)
                known = self._known.get(spec.app_name)
                if known is None:
                    self._known[spec.app_name] = _Known(opened)
                elif known.opened != opened:
                    known.opened = opened
                else:
                    continue
                if self._socket is not None:
                    self._unsent = memoryview(bytes(self._unsent) + encode(opened))

    def sweep(self) -> None:
        """Sends what there is to send, and reads counts. Call it every few milliseconds."""
        if not self._known or self._is_closed:
            return
        if self._socket is None:
            self._restart()
            return
        try:
            self._send(self._socket)
            self._receive(self._socket)
        except (ConnectionError, ValueError) as error:
            self._ended(str(error))

    def _send(self, connection: socket.socket) -> None:
        if not self._unsent and len(self._buffer):
            entries = self._buffer.take(FRAME_BYTES)
            for entry in entries:
                self._known[entry[0]].handed += len(entry[2])
            self._unsent = memoryview(encode(Rows(self._offset_s(), entries)))
        if self._unsent:
            with contextlib.suppress(BlockingIOError):
                self._unsent = self._unsent[connection.send(self._unsent) :]

    def _offset_s(self) -> float:
        return self._clock.wall_s() - self._clock.monotonic_s()

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("it has ended")
        for body in self._cutter.feed(data):
            self._take(decode_counts(body))

    def _take(self, counts: Counts) -> None:
        self._counts = counts
        for version in counts.versions:
            known = self._known.get(version.app_name)
            if known is not None:
                known.now_kept, known.now_lost = version.kept, version.lost

    def _ended(self, why: str) -> None:
        """The writer is gone: what it had in its memory is lost, and another one is started after a pause."""
        assert self._socket is not None, "there was one"
        self._socket.close()
        self._socket = None
        for known in self._known.values():
            rest = known.handed - known.now_kept - sum(known.now_lost.values())
            known.kept += known.now_kept
            known.lost = _sum([known.lost, known.now_lost, {"writer": rest} if rest else {}])
            known.handed, known.now_kept, known.now_lost = 0, 0, {}
        self._files += self._counts.files
        self._counts = Counts([], 0, self._counts.waiting_bytes, self._counts.fault)
        now_s = self._clock.monotonic_s()
        if now_s - self._started_s > STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        self._not_before_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        log.error("the prediction log's writer has ended (%s); another one starts, and requests go on", why)

    def _restart(self) -> None:
        if self._starting is None and self._clock.monotonic_s() >= self._not_before_s:
            self._starting = asyncio.get_running_loop().create_task(self._begin())

    async def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            if self._process is not None:
                self._process.poll()
            # In a thread: to start a process takes milliseconds.
            self._process = await asyncio.to_thread(self._start, self._gateway_id, self._num_starts, theirs)
        except OSError as error:
            ours.close()
            self._not_before_s = self._clock.monotonic_s() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            log.error("the prediction log's writer cannot be started: %s", error)
            return
        finally:
            theirs.close()
            self._starting = None
        self._num_starts += 1
        self._started_s = self._clock.monotonic_s()
        ours.setblocking(False)
        self._cutter = Cutter()
        self._unsent = memoryview(b"".join([encode(known.opened) for known in self._known.values()]))
        self._socket = ours

    async def close(self) -> None:
        """Sends the rest and lets the writer end; it is not waited for longer than `END_S`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._send_rest()
                self._is_closed = True
                while self._process is not None and self._process.poll() is None:
                    await asyncio.sleep(0.02)
        self._is_closed = True
        self._hang_up()

    async def _send_rest(self) -> None:
        if self._starting is not None:
            await asyncio.wait([self._starting])
        while self._socket is not None and (self._unsent or len(self._buffer)):
            self.sweep()
            await asyncio.sleep(0.005)
        if self._socket is not None:
            # Not closed yet: with counts that nobody has read, the writer would see a reset.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # ---- What others read ----------------------------------------------------------------------------------------

    def counts(self) -> tuple[LogCount, ...]:
        """Rows since the gateway's start, by version."""
        return tuple(self._count(known) for known in self._known.values())

    def _count(self, known: _Known) -> LogCount:
        buffer = self._buffer.lost.get(known.opened.app_name, 0)
        lost = _sum([known.lost, known.now_lost, {"buffer": buffer} if buffer else {}])
        return LogCount(known.opened.endpoint, known.opened.version, known.kept + known.now_kept, lost)

    def health(self) -> LogHealth:
        """For metrics."""
        files = self._files + self._counts.files
        return LogHealth(self.counts(), files, self._counts.waiting_bytes, not self._counts.fault)


def _sum(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for reason, count in part.items():
            total[reason] = total.get(reason, 0) + count
    return total
