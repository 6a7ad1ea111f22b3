"""One request and its reply, as handlers see them: whatever the wire was, whatever else the connection carries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from http import HTTPStatus
from typing import Final

from mypy_extensions import mypyc_attr

from router.http import problem
from router.http.cancellation import Cancellable
from router.http.heads import Head, Headers

_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
STATUS_LINES: Final = {status: b"HTTP/1.1 %d %s\r\n" % (status, reason) for status, reason in _REASONS.items()}
PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")


class Connection(ABC):
    """The side of a connection that replies need."""

    exchanges: deque[Exchange]
    """Requests that are not answered yet, oldest first."""

    @abstractmethod
    def write(self, data: bytes) -> None: ...

    @abstractmethod
    def finished(self, exchange: Exchange) -> None:
        """A reply was written whole."""

    @abstractmethod
    async def drain(self) -> None:
        """Waits until the caller has taken enough of what was written."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Handler(ABC):
    """Answers requests, at once or later, through ``request.exchange``."""

    @abstractmethod
    def handle(self, request: Request) -> None: ...


class Request:
    """One complete request."""

    __slots__ = ("body", "exchange", "head", "received_s")

    def __init__(self, head: Head, body: bytes, exchange: Exchange, received_s: float) -> None:
        self.head = head
        self.body = body
        self.exchange = exchange
        self.received_s = received_s


class Exchange:
    """The reply side of one request. Replies leave the connection in the order of the requests."""

    __slots__ = ("_buffer", "_connection", "_is_finished", "keep_alive", "traceparent", "work")

    def __init__(self, connection: Connection, keep_alive: bool) -> None:
        self._connection: Connection | None = connection
        self._buffer: list[bytes] | None = None
        """What could not be written yet, if there is any."""
        self._is_finished = False
        self.keep_alive = keep_alive
        self.traceparent = b""
        self.work: Cancellable | None = None
        """Cancelled if the caller goes away before the reply is finished."""

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def is_next(self) -> bool:
        """Whether what is written leaves at once: no earlier request of the connection waits for its reply."""
        return self._connection is not None and self._connection.exchanges[0] is self

    def reply(self, data: bytes) -> None:
        """Sends a whole reply, head and body."""
        connection = self._connection
        if connection is None:
            return
        exchanges = connection.exchanges
        if exchanges[0] is self and self._buffer is None:
            connection.write(data)
            exchanges.popleft()
            self._connection = self.work = None  # see `_end`
            connection.finished(self)
            if exchanges:
                _flush(connection)  # Later requests may have been answered before this one.
            return
        self._hold(data)
        self.finish()

    def write(self, data: bytes) -> None:
        """Sends a part of a reply; `finish` must follow."""
        connection = self._connection
        if connection is None:
            return
        if connection.exchanges[0] is self:
            connection.write(data)
        else:
            self._hold(data)

    def _hold(self, data: bytes) -> None:
        if self._buffer is None:
            self._buffer = []
        self._buffer.append(data)

    async def drain(self) -> None:
        """Waits until the caller has taken enough of what was written."""
        if self._connection is not None:
            await self._connection.drain()

    def finish(self) -> None:
        self._is_finished = True
        if self._connection is not None:
            _flush(self._connection)

    def problem(
        self, status: int, detail: str, *headers: tuple[bytes, bytes], close: bool = False, code: str = ""
    ) -> None:
        """Replies with a problem document."""
        if close:
            self.keep_alive = False
        self.reply(render(status, [PROBLEM_JSON, *headers], problem.body(status, detail, code), self.keep_alive))

    def _end(self) -> None:
        # Both lead back here. Without the rings, a request's memory is free at once and never waits for the collector.
        self._connection = self.work = None

    def disconnected(self) -> None:
        work = self.work
        self._end()
        if work is not None and not self._is_finished:
            work.cancel()


def _flush(connection: Connection) -> None:
    """Writes what is due: replies that are finished, and the parts there are of the first that is not."""
    exchanges = connection.exchanges
    while exchanges:
        head = exchanges[0]
        if head._buffer is not None:
            connection.write(b"".join(head._buffer))
            head._buffer = None
        if not head._is_finished:
            return
        exchanges.popleft()
        head._end()
        connection.finished(head)


def render(status: int, headers: Headers, body: bytes, keep_alive: bool) -> bytes:
    """A whole reply as bytes."""
    lines = [STATUS_LINES[status]]
    lines += [b"%s: %s\r\n" % header for header in headers]
    lines.append(b"content-length: %d\r\n\r\n" % len(body) if keep_alive else _CLOSING % len(body))
    lines.append(body)
    return b"".join(lines)


_CLOSING: Final = b"connection: close\r\ncontent-length: %d\r\n\r\n"
