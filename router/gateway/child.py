"""Runs a gateway's process from its parent: start, restart, calls to the controller, health, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping

from divisions.clock import SystemClock
from divisions.errors import ClusterError, DivisionsError
from router.gateway.bridge import (
    Argument,
    Beat,
    Call,
    Failure,
    FromGateway,
    Listening,
    Result,
    error_of,
    failure,
    receive,
    send,
)

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
SILENCE_S = 5.0
"""A gateway that has sent nothing for so long counts as hung."""
STOP_S = 6.5
RESTART_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

CallController = Callable[[str, tuple[Argument, ...], float], Awaitable[bytes]]
"""Calls a method with arguments and a timeout in seconds; may raise `DivisionsError`."""


class GatewayChild(threading.Thread):
    """Keeps one gateway process running, and stands in for it at the controller.

    It is a thread with a loop of its own, because the owner's thread may be busy or blocked.

    Args:
        node_id: the node that the gateway prefers replicas of.
        call: reaches the controller; used on this thread's loop.
        environment: of the gateway's process; None is this process's own.
    """

    def __init__(self, node_id: str, call: CallController, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(name="gateway-child", daemon=True)
        self._node_id = node_id
        self._call = call
        self._environment = environment
        self._clock = SystemClock()
        self._listening = threading.Event()
        self._failure: Exception | None = None
        self._message_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = False
        self._calls: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        try:
            asyncio.run(self._keep_running())
        except Exception as error:  # noqa: BLE001  # Carried over to the thread that waits for us.
            self._failure = self._failure or error
        finally:
            self._listening.set()

    async def _keep_running(self) -> None:
        self._loop = asyncio.get_running_loop()
        pause_s = RESTART_PAUSE_S
        while not self._is_stopping:
            begun_s = self._clock.monotonic_s()
            status = await self._run_once()
            if self._is_stopping:
                return
            if not self._listening.is_set():
                raise self._failure or ClusterError(f"the gateway's process ended at once, with exit status {status}")
            pause_s = RESTART_PAUSE_S if self._clock.monotonic_s() - begun_s > START_TIMEOUT_S else pause_s * 2
            log.error("the gateway's process ended with exit status %s; it is started again", status)
            await asyncio.sleep(min(pause_s, LONGEST_PAUSE_S))

    async def _run_once(self) -> int:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "router.gateway.process"]
        command += [str(theirs.fileno()), uuid.uuid4().hex[:8], self._node_id]
        # A session of its own: where nothing else groups processes, Linux shares processors by session (autogroup).
        # In Ray's session the gateway would share one session's part with all of Ray's processes.
        process = self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], start_new_session=True, env=self._environment
        )
        theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        self._writer = writer
        if self._is_stopping:
            self._hang_up()
        try:
            while (message := await receive(reader, FromGateway)) is not None:
                self._message_s = self._clock.monotonic_s()
                self._on(message, writer)
        finally:
            self._writer = None
            writer.close()
            status = await asyncio.to_thread(_end, process)
        return status

    def _on(self, message: FromGateway, writer: asyncio.StreamWriter) -> None:
        match message:
            case Call():
                task = asyncio.ensure_future(self._answer(message, writer))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
            case Listening():
                self._listening.set()
            case Failure():
                self._failure = error_of(message)
                log.error("the gateway cannot start: %s", self._failure)
            case Beat():
                pass

    async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> None:
        try:
            send(writer, Result(call.call_id, await self._call(call.method, call.arguments, call.timeout_s)))
        except DivisionsError as error:
            send(writer, failure(call.call_id, error))
        except Exception as error:
            log.exception("a call to the controller failed")
            send(writer, failure(call.call_id, error))

    def start_and_wait(self) -> None:
        """Starts; returns when the port is open.

        Raises:
            ClusterError: it could not be opened.
        """
        self.start()
        if not self._listening.wait(START_TIMEOUT_S):
            self.stop()
            raise ClusterError(f"the gateway's process has not opened its port within {START_TIMEOUT_S:.0f} s")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Lets the gateway finish its requests and end. `join` waits for that."""
        self._is_stopping = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                self._loop.call_soon_threadsafe(self._hang_up)

    def _hang_up(self) -> None:
        if self._writer is not None and self._process is not None:
            self._writer.write_eof()
            asyncio.get_running_loop().call_later(STOP_S, self._process.kill)  # No effect on a process that has ended.

    @property
    def is_serving(self) -> bool:
        """Whether the gateway has sent a message lately."""
        return self.is_alive() and self._clock.monotonic_s() - self._message_s < SILENCE_S


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
