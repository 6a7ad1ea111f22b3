"""The reply side of one request. It does not depend on what else the connection carries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from http import HTTPStatus
from typing import Final

from router.http import problem
from router.http.cancellation import Cancellable, Held

Headers = list[tuple[bytes, bytes]]

_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
STATUS_LINES: Final = {status: b"HTTP/1.1 %d %s\r\n" % (status, reason) for status, reason in _REASONS.items()}
PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")
CLOSE: Final = b"connection: close\r\n"
KEEP_ALIVE: Final = b"connection: keep-alive\r\n"


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
    def hold(self) -> None:
        """Takes no further request until all that were taken are answered."""

    @abstractmethod
    async def drain(self) -> None:
        """Waits until the caller has taken enough of what was written."""

    @abstractmethod
    def peer(self) -> str:
        """The caller's address; empty if it is not known."""


class Exchange:
    """See the module. Replies leave the connection in the order of the requests.

    Args:
        keep_alive: whether the connection stays open after the reply.
        says_keep_alive: whether the reply must say so. HTTP/1.0 clients wait for it.
    """

    __slots__ = (
        "_buffer",
        "_connection",
        "_is_finished",
        "_says_keep_alive",
        "held",
        "keep_alive",
        "received_s",
        "traceparent",
        "work",
    )

    def __init__(self, connection: Connection, keep_alive: bool, says_keep_alive: bool = False) -> None:
        self._connection: Connection | None = connection
        self._buffer: list[bytes] | None = None
        """Parts that could not be written yet. None if there are none."""
        self._is_finished = False
        self._says_keep_alive = says_keep_alive
        self.keep_alive = keep_alive
        self.traceparent = b""
        self.received_s = 0.0
        """When the request had come whole; 0 before its head was read."""
        self.work: Cancellable | None = None
        """Cancelled if the caller goes away before the reply is finished."""
        self.held: Held | None = None
        """Released when the reply was written, or the caller has gone."""

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def peer(self) -> str:
        """The caller's address; empty if it is not known, or the caller has gone."""
        return "" if self._connection is None else self._connection.peer()

    @property
    def is_next(self) -> bool:
        """Whether a write leaves at once: no earlier request of the connection waits for its reply."""
        return self._connection is not None and self._connection.exchanges[0] is self

    @property
    def connection_header(self) -> bytes:
        """The header line about the connection that the reply needs; empty if it needs none."""
        if not self.keep_alive:
            return CLOSE
        return KEEP_ALIVE if self._says_keep_alive else b""

    def hold(self) -> None:
        """Has the connection take no further request before this one is answered."""
        if self._connection is not None:
            self._connection.hold()

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
            if self.held is not None:
                self._release()
            connection.finished(self)
            if exchanges:
                _flush(connection)  # Later requests may have been answered before this one.
            return
        self._hold_back(data)
        self.finish()

    def write(self, data: bytes) -> None:
        """Sends a part of a reply; `finish` must follow."""
        connection = self._connection
        if connection is None:
            return
        if connection.exchanges[0] is self:
            connection.write(data)
        else:
            self._hold_back(data)

    def _hold_back(self, data: bytes) -> None:
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
        document = problem.body(status, detail, code)
        self.reply(render(status, [PROBLEM_JSON, *headers], document, self.connection_header))

    def _end(self) -> None:
        # Both refer back to this object. Without these rings its memory is free at once, without the collector.
        self._connection = self.work = None
        if self.held is not None:
            self._release()

    def _release(self) -> None:
        held, self.held = self.held, None
        if held is not None:
            held.release()

    def disconnected(self) -> None:
        work = self.work
        self._end()
        if work is not None and not self._is_finished:
            work.cancel()


def _flush(connection: Connection) -> None:
    """Writes what is due: finished replies in order, then the parts of the first unfinished one."""
    exchanges = connection.exchanges
    while exchanges:
        first = exchanges[0]
        if first._buffer is not None:
            connection.write(b"".join(first._buffer))
            first._buffer = None
        if not first._is_finished:
            return
        exchanges.popleft()
        first._end()
        connection.finished(first)


def render(status: int, headers: Headers, body: bytes, connection_header: bytes = b"") -> bytes:
    """A whole reply as bytes."""
    lines = [STATUS_LINES[status]]
    lines += [b"%s: %s\r\n" % header for header in headers]
    lines.append(b"%scontent-length: %d\r\n\r\n" % (connection_header, len(body)))
    lines.append(body)
    return b"".join(lines)
