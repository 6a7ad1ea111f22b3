"""A process beside the gateway that takes frames and tells counts: starts it, and starts it again when it dies.

Every call returns at once, so a process that stands still is never in a request's way. What it keeps and what is lost
with it is its owner's business. Lives on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Callable

from divisions.clock import Clock

log = logging.getLogger(__name__)

READ_BYTES = 64 << 10
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""A process that has lived so long is started again at once."""
END_S = 3.0
"""How long the gateway's end waits for the process's. It goes on by itself."""

Start = Callable[[int, socket.socket], "subprocess.Popen[bytes]"]
"""Starts the process with its socket; takes the number of the start, too."""


def start_module(module: str, theirs: socket.socket, *arguments: str) -> subprocess.Popen[bytes]:
    """Runs ``python -m module FD ARGUMENT…``."""
    command = [sys.executable, "-m", module, str(theirs.fileno()), *arguments]
    return subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)


class SideProcess:
    """See the module.

    Args:
        name: for the log, such as "the prediction log's writer".
        clock: the time.
        start: see `Start`.
        greeting: what each new process is sent first.
    """

    def __init__(self, name: str, clock: Clock, start: Start, greeting: Callable[[], bytes]) -> None:
        self._name = name
        self._clock = clock
        self._start = start
        self._greeting = greeting
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._starting: asyncio.Task[None] | None = None
        self._num_starts = 0
        self._started_s = 0.0
        self._not_before_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._unsent = memoryview(b"")

    @property
    def is_there(self) -> bool:
        return self._socket is not None

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def give(self, data: bytes) -> None:
        """Sends ``data`` behind what waits already. For a process that is there."""
        self._unsent = memoryview(bytes(self._unsent) + data) if self._unsent else memoryview(data)

    def send(self) -> None:
        """Sends as much as the process takes.

        Raises:
            ConnectionError: it has ended.
        """
        if self._unsent and self._socket is not None:
            with contextlib.suppress(BlockingIOError):
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def receive(self) -> bytes:
        """What it has sent; empty if there is nothing.

        Raises:
            ConnectionError: it has ended.
        """
        assert self._socket is not None, "there is one"
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionResetError("it has ended")
        return data

    def ended(self, why: str) -> None:
        """The process is gone: another one is started after a pause."""
        self.hang_up()
        now_s = self._clock.monotonic_s()
        if now_s - self._started_s > STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        self._put_off(now_s)
        log.error("%s has ended (%s); another one starts, and requests go on", self._name, why)

    def restart(self) -> None:
        """Starts it, unless that is under way or too early."""
        if self._starting is None and self._clock.monotonic_s() >= self._not_before_s:
            self._starting = asyncio.get_running_loop().create_task(self._begin())

    def _put_off(self, now_s: float) -> None:
        self._not_before_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    async def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            if self._process is not None:
                self._process.poll()
            # In a thread: to start a process takes milliseconds.
            self._process = await asyncio.to_thread(self._start, self._num_starts, theirs)
        except OSError as error:
            ours.close()
            self._put_off(self._clock.monotonic_s())
            log.error("%s cannot be started: %s", self._name, error)
            return
        finally:
            theirs.close()
            self._starting = None
        self._num_starts += 1
        self._started_s = self._clock.monotonic_s()
        ours.setblocking(False)
        self._unsent = memoryview(self._greeting())
        self._socket = ours

    async def until_started(self) -> None:
        """Waits for a start that is under way."""
        if self._starting is not None:
            await asyncio.wait([self._starting])

    def no_more(self) -> None:
        """Tells it that nothing follows.

        Not closed yet: with counts that nobody has read, the process would see a reset.
        """
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    async def until_ended(self) -> None:
        while self._process is not None and self._process.poll() is None:
            await asyncio.sleep(0.02)

    def hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
