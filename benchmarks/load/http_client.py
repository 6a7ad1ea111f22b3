"""A lean HTTP/1.1 client for load: keep-alive connections, one request at a time on each, no retries.

A request takes a free connection. If there is none, it opens one, up to a cap. At the cap it waits. The waiting is part
of its latency, because latency counts from the scheduled time. Every request ends in exactly one `Outcome`.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools


class Outcome(enum.IntEnum):
    OK = 0  # a 2xx answer
    REFUSED = 1  # 503 or 429: the server shed the request, as it should under overload or beyond a limit
    FAILED = 2  # any other status, or the connection could not be opened, broke or spoke nonsense
    TIMED_OUT = 3  # no whole answer before the deadline


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. Only plain ``http`` is spoken: TLS would measure the generator."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Raises ValueError if ``url`` is not a plain HTTP address."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the load generator needs a URL such as http://127.0.0.1:8000/path, got {url!r}")
        path = parts.path or "/"
        return cls(parts.hostname, parts.port or 80, f"{path}?{parts.query}" if parts.query else path)

    def encode_post(self, body: bytes, headers: dict[str, str] | None = None) -> bytes:
        """One whole POST request with a JSON body, ready to be written."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"host: {self.host}:{self.port}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Exchange:
    """One request from its scheduled time to its outcome. Times are of `time.monotonic`."""

    __slots__ = ("connection", "done", "outcome", "reason", "request", "scheduled_s", "version")

    def __init__(self, scheduled_s: float, request: bytes) -> None:
        self.scheduled_s = scheduled_s
        self.request = request
        self.connection: HttpConnection | None = None
        self.done = False
        self.outcome = Outcome.FAILED
        self.reason = ""
        self.version = ""


class HttpConnection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._version = ""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, exchange: Exchange) -> None:
        assert self._transport is not None
        self._exchange = exchange
        exchange.connection = self
        self._version = ""
        self._transport.write(exchange.request)

    def abort(self) -> None:
        """Drops the connection and the request on it, which is not counted again."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own do not inherit from asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._pool.finish(exchange, Outcome.FAILED, "connection closed before the answer")
        self._pool.lost(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            exchange, self._exchange = self._exchange, None
            if exchange is not None:
                self._pool.finish(exchange, Outcome.FAILED, f"not HTTP: {error}")
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-model-version":
            self._version = value.decode("latin-1")

    def on_message_complete(self) -> None:
        exchange, self._exchange = self._exchange, None
        parser = self._parser
        status, keep_alive = parser.get_status_code(), parser.should_keep_alive()
        # The parser belongs to one message: a fresh one carries no state over.
        self._parser = httptools.HttpResponseParser(self)
        if exchange is None:
            self.abort()  # an answer without a request
            return
        exchange.version = self._version
        if 200 <= status < 300:
            self._pool.finish(exchange, Outcome.OK)
        elif status in {429, 503}:
            self._pool.finish(exchange, Outcome.REFUSED, f"status {status}")
        else:
            self._pool.finish(exchange, Outcome.FAILED, f"status {status}")
        if keep_alive and self.is_open:
            self._pool.free(self)
        elif self._transport is not None:
            self._transport.close()


class ConnectionPool:
    """Up to ``cap`` connections to one target, opened on demand.

    Args:
        loop: the running loop.
        target: where to connect.
        cap: most connections at a time.
        deadline_s: time from a request's *scheduled* time after which it is given up.
        on_done: called with each exchange and the time of its end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: Target,
        cap: int,
        deadline_s: float,
        on_done: Callable[[Exchange, float], None],
    ) -> None:
        self._loop = loop
        self._target = target
        self._cap = cap
        self._deadline_s = deadline_s
        self._on_done = on_done
        self._idle: list[HttpConnection] = []
        self._open: set[HttpConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[Exchange] = deque()
        self._in_order: deque[Exchange] = deque()  # all have one deadline, so the oldest expires first
        self._closed = False
        self.in_flight = 0
        self.most_connections = 0
        self.connects = 0

    async def open(self, count: int) -> None:
        """Opens connections ahead, so that the first requests do not measure handshakes.

        Raises:
            OSError: the target does not listen.
        """
        for _ in range(min(count, self._cap)):
            await self._connect()

    def submit(self, exchange: Exchange) -> None:
        self.in_flight += 1
        self._in_order.append(exchange)
        if self._idle:
            self._idle.pop().send(exchange)
            return
        self._waiting.append(exchange)
        self._connect_if_allowed()

    def expire(self, now_s: float) -> None:
        """Gives up all requests whose deadline has passed; their connections are dropped."""
        while self._in_order:
            exchange = self._in_order[0]
            if not exchange.done:
                if now_s - exchange.scheduled_s < self._deadline_s:
                    return
                connection = exchange.connection
                self.finish(exchange, Outcome.TIMED_OUT, "no answer before the deadline")
                if connection is not None:
                    connection.abort()
            self._in_order.popleft()

    def close(self) -> None:
        self._closed = True
        for task in self._connecting:
            task.cancel()
        for connection in list(self._open):
            connection.abort()

    def finish(self, exchange: Exchange, outcome: Outcome, reason: str = "") -> None:
        if exchange.done:
            return
        exchange.done = True
        exchange.outcome = outcome
        exchange.reason = reason
        exchange.connection = None
        self.in_flight -= 1
        self._on_done(exchange, time.monotonic())

    def free(self, connection: HttpConnection) -> None:
        """Takes back a connection that is ready for the next request."""
        exchange = self._next_waiting()
        if exchange is not None:
            connection.send(exchange)
        else:
            self._idle.append(connection)

    def lost(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._connect_if_allowed()

    def _next_waiting(self) -> Exchange | None:
        while self._waiting:
            exchange = self._waiting.popleft()
            if not exchange.done:
                return exchange
        return None

    def _connect_if_allowed(self) -> None:
        if self._closed or len(self._open) + len(self._connecting) >= self._cap:
            return
        task = self._loop.create_task(self._connect_for_waiting())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect_for_waiting(self) -> None:
        try:
            await self._connect()
        except OSError as error:
            # One failed attempt fails one request; the next in the queue gets an attempt of its own.
            task = asyncio.current_task()
            if task is not None:
                self._connecting.discard(task)  # now, so that it does not count against the cap any more
            exchange = self._next_waiting()
            if exchange is not None:
                self.finish(exchange, Outcome.FAILED, f"cannot connect: {error.strerror or error}")
            if self._waiting:
                self._connect_if_allowed()

    async def _connect(self) -> None:
        _, connection = await self._loop.create_connection(
            lambda: HttpConnection(self), self._target.host, self._target.port
        )
        if self._closed:
            connection.abort()
            return
        self._open.add(connection)
        self.connects += 1
        self.most_connections = max(self.most_connections, len(self._open))
        self.free(connection)
