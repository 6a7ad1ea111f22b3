"""Hands complete requests to an ASGI application: everything that is not on the hot path goes through here.

Such a request costs far more than one of the hot path, which must not wait for it. So one is begun at a time, with
pauses between; `MAX_RUNNING` run at a time, and a connection has one at a time. Connections take turns.

Bodies are whole by the time they arrive (the connection limits them). So ``receive`` has one message to give, and after
that it waits for the caller to leave. Replies stream, which server-sent events need.
"""

from __future__ import annotations

import asyncio
import logging
import urllib.parse
from collections import deque
from typing import Any, Final

from starlette.types import ASGIApp, Message

from router.http.cancellation import Cancellable
from router.http.exchange import STATUS_LINES, Exchange
from router.http.request import Handler, Request

log = logging.getLogger(__name__)

TURN_S: Final = 0.05
PAUSE_S: Final = 0.001
"""Between the beginnings of two requests. It leaves about half of the time to the hot path."""
MAX_RUNNING: Final = 32
"""Requests that the application works on at a time. Replies that stream do not count: they mostly wait."""


class AsgiHandler(Handler):
    """Runs ``app`` for each request, in a task of its own. See the module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting: deque[Request] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._is_pausing = False

    def handle(self, request: Request) -> None:
        request.exchange.hold()
        self._waiting.append(request)
        self._begin_next()

    def _begin_next(self) -> None:
        """Begins one request, if none was begun just now."""
        while self._waiting and self._running < MAX_RUNNING and not self._is_pausing:
            request = self._waiting.popleft()
            if request.exchange.is_connected:
                self._running += 1
                loop = asyncio.get_running_loop()
                task = loop.create_task(self._run(request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                self._is_pausing = True
                loop.call_later(PAUSE_S, self._paused)

    def _paused(self) -> None:
        self._is_pausing = False
        self._begin_next()

    def left(self) -> None:
        """A request is answered, or streams from now on."""
        self._running -= 1
        self._begin_next()

    async def _run(self, request: Request) -> None:
        reply = _AsgiReply(self, request)
        request.exchange.work = caller = _Caller()
        messages: list[Message] = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await caller.gone.wait()
            return {"type": "http.disconnect"}

        try:
            await self._app(scope_of(request), receive, reply.send)
        except Exception:
            log.exception("the application failed")
            reply.fail()
        else:
            reply.end()
        finally:
            reply.leave()


class _Caller(Cancellable):
    """Tells the application that its caller has gone."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def cancel(self) -> None:
        self.gone.set()


def scope_of(request: Request) -> dict[str, Any]:
    """The ASGI scope of a request."""
    raw_path, _, query = request.head.url.partition(b"?")
    peer = request.exchange.peer
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.head.http_version,
        "method": request.head.method.decode("ascii"),
        "scheme": "http",
        "path": urllib.parse.unquote(raw_path.decode("latin-1")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": request.head.headers,
        "client": (peer, 0) if peer else None,
        "server": None,
        "state": {},
    }


class _AsgiReply:
    """The reply to one request. ``handler`` hears once when the request is answered or streams."""

    def __init__(self, handler: AsgiHandler, request: Request) -> None:
        self._handler: AsgiHandler | None = handler
        self._exchange: Exchange = request.exchange
        self._is_head = request.head.method == b"HEAD"
        self._can_chunk = request.head.http_version != "1.0"
        self._head: Message | None = None
        self._is_chunked = False
        self._is_started = False
        self._is_ended = False

    def leave(self) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.left()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        body: bytes = message.get("body", b"")
        has_more: bool = message.get("more_body", False)
        if has_more:
            self.leave()
            await self._turn()
        if not self._is_started:
            self._start(len(body), has_more)
        if body and not self._is_head:
            self._exchange.write(b"%x\r\n%s\r\n" % (len(body), body) if self._is_chunked else body)
            await self._exchange.drain()
        if not has_more:
            self.end()

    async def _turn(self) -> None:
        """Waits until earlier replies of the connection are out: a stream must not pile up behind them.

        It looks again and again. Few callers pipeline a stream, and a notice would cost every request.
        """
        while self._exchange.is_connected and not self._exchange.is_next:
            await asyncio.sleep(TURN_S)

    def _start(self, length: int, has_more: bool) -> None:
        assert self._head is not None, "the application sent a body before its head"
        self._is_started = True
        headers = [(bytes(name), bytes(value)) for name, value in self._head["headers"]]
        lines = [STATUS_LINES[self._head["status"]], *[b"%s: %s\r\n" % header for header in headers]]
        has_body = self._head["status"] not in {204, 304}
        if has_body and not any(name == b"content-length" for name, _ in headers):
            if not has_more:
                lines.append(b"content-length: %d\r\n" % length)
            elif self._can_chunk:
                self._is_chunked = not self._is_head
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                # In HTTP/1.0 the end of the connection ends a reply of unknown length.
                self._exchange.keep_alive = False
        self._exchange.write(b"".join([*lines, self._exchange.connection_header, b"\r\n"]))

    def end(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        if not self._is_started:
            self._exchange.problem(500, "the application gave no reply")
            return
        if self._is_chunked:
            self._exchange.write(b"0\r\n\r\n")
        self._exchange.finish()

    def fail(self) -> None:
        if not self._is_started:
            self._is_ended = True
            self._exchange.problem(500, "internal error; the log has the details", close=True)
            return
        # Half a reply is out. Only closing the connection tells the caller that it is not whole.
        self._exchange.keep_alive = False
        self._is_ended = True
        self._exchange.finish()
