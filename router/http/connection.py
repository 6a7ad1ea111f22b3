"""HTTP/1.1 on the wire: an asyncio protocol made for many small requests on kept connections.

`router.http.parser` makes requests from bytes. This module takes them one by one, hands each to a `Handler`, and
sends the replies in order. It adds the deadlines, and it decides when to read: a caller who asks faster than it is
answered waits. It knows no routes. docs/data-plane.md says why this is not uvicorn's protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from router.http.exchange import Connection, Exchange
from router.http.heads import HeadCache
from router.http.limits import HttpLimits
from router.http.parser import IDLE, RequestParser
from router.http.request import Handler, Head, Request

log = logging.getLogger(__name__)

MAX_PIPELINED: Final = 128
"""Requests of one connection that may wait for their replies."""
MAX_PARTS: Final = 4
"""Parts, and so requests, that a connection parses before others have their turn."""
MAX_BYTES: Final = 65_536
"""As many bytes end a connection's turn too."""
MAX_VISITS: Final = 16
"""Connections with more to parse that have their turn in one turn of the event loop; also as many `MAX_BYTES`."""
LINGER_S: Final = 2.0

# Why a connection takes no further request at present. Several reasons may hold at once.
BLOCKED: Final = 1
"""The caller does not take what was written."""
HELD: Final = 2
"""A request wants to be the last one until it is answered."""
FULL: Final = 4
"""`MAX_PIPELINED` requests wait."""
TURN: Final = 8
"""The rest of what came is parsed when it is this connection's turn again."""

# How far a connection is on its way to its end.
OPEN: Final = 0
LAST: Final = 1
"""The last request has come. What follows is dropped. Its reply ends the connection."""
LINGERING: Final = 2
"""All is answered and our side is closed; the caller has time to read the replies and close its side.

Closing both sides at once would reset the connection if more comes, and the caller would lose the replies."""


class HttpServer:
    """The connections of one listening socket, and the clock that ends those that take too long."""

    def __init__(self, handler: Handler, limits: HttpLimits, now_s: Callable[[], float]) -> None:
        self.handler = handler
        self.limits = limits
        self.now_s = now_s
        self.connections: set[HttpConnection] = set()
        self.heads = HeadCache()
        self.is_closing = False
        """Whether every reply says that it is the connection's last one."""
        self.closes_idle = False
        self.swept_s = now_s()
        """The time of the last sweep. Exact enough for how long a connection has been idle, and costs nothing."""
        self._later: deque[HttpConnection] = deque()
        self._is_due = False

    def protocol(self) -> HttpConnection:
        return HttpConnection(self)

    def take_turns(self, connection: HttpConnection) -> None:
        """Lets a connection go on after all others that wait, in a later turn of the event loop.

        Callers that send one request at a time never wait here. So a pipelining caller delays them by one turn at most.
        """
        self._later.append(connection)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        num_bytes = 0
        for _ in range(min(MAX_VISITS, len(self._later))):
            num_bytes += self._later.popleft().next_turn()
            if num_bytes > MAX_BYTES:
                break
        if self._later and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def sweep(self) -> None:
        """Ends connections that are too slow; call it about once a second."""
        now_s = self.swept_s = self.now_s()
        for connection in list(self.connections):
            connection.check_deadlines(now_s)

    def end_with_replies(self) -> None:
        """Begins a graceful stop: each connection ends with the reply to its next request.

        An idle connection is not closed yet. Its caller may be sending a request just now, which would be lost.
        """
        self.is_closing = True

    def close_idle(self) -> None:
        """Goes on with the stop: idle connections end now, busy ones after their reply."""
        self.is_closing = self.closes_idle = True
        for connection in list(self.connections):
            connection.close_when_idle()


class HttpConnection(Connection):
    """See the module. It has the methods of an `asyncio.Protocol`; inheriting from that would slow the compiled one."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._transport: asyncio.Transport | None = None
        self._parser = RequestParser(server.limits)
        self._heads = server.heads
        self._last_head: Head | None = None
        self.exchanges: deque[Exchange] = deque()
        self._ending = OPEN
        self._waits = 0
        self._rest = b""
        """Received and not parsed yet, because of `_waits`."""
        self._received_s = self._since_s = server.now_s()
        """`_since_s` is when the connection became idle, blocked or lingering."""
        self._drained: asyncio.Future[None] | None = None

    # -- connection ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        self._server.connections.add(self)
        if len(self._server.connections) > self._limits.max_connections:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)
        self._abandon()
        self._release()
        self._rest = b""
        self._parser.close()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._waits or self._ending:
            self._put_off(data)
            return
        self._received_s = self._server.now_s()
        if self._parser.phase == IDLE:
            head = self._last_head  # Most requests of a connection have the same head: try it before the look-up.
            if head is None or not head.begins(data):
                head = self._last_head = self._heads.find(data)
            if head is not None:
                self._handle(head, data[len(head.raw) :], True)
                return
        self._parse(data)

    def _put_off(self, data: bytes) -> None:
        """Keeps what cannot be parsed now, and has the caller wait; drops what follows the last request."""
        if self._ending:
            return
        self._rest += data
        if self._transport is not None:
            self._transport.pause_reading()

    def _parse(self, data: bytes) -> None:
        """Takes requests from ``data`` as long as this connection may ask."""
        parser = self._parser
        was_idle = parser.phase == IDLE
        parser.now_s = self._received_s
        start = parts = 0
        while start < len(data) and not self._waits and not self._ending:
            if parts == MAX_PARTS or start > MAX_BYTES:
                self._take_turns()
                break  # The condition would end the loop as well.
            start = parser.feed(data, start)
            parts += 1
            if parser.wants_continue:
                self._continue()
            head = parser.complete
            if head is not None:
                body = parser.take_body()
                is_one = was_idle and start == len(data) and parser.phase == IDLE
                self._handle(head, body, parser.keep_alive)
                if is_one:
                    self._heads.keep(data, head, len(body))
            refusal = parser.refusal
            if refusal is not None and not self._ending:
                self._refuse(refusal.status, refusal.detail)
        if start < len(data):
            self._put_off(data[start:])

    def _continue(self) -> None:
        self._parser.wants_continue = False
        if self._transport is not None and not self.exchanges and self._parser.is_receiving:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _handle(self, head: Head, body: bytes, keep_alive: bool) -> None:
        if not keep_alive or self._server.is_closing:
            keep_alive = False
            self._ending = LAST
        exchange = Exchange(self, keep_alive, head.http_version == "1.0")
        self.exchanges.append(exchange)
        try:
            (head.handler or self._server.handler).handle(Request(head, body, exchange, self._received_s))
        except Exception:
            log.exception("a request could not be handled")
            self._ending = LAST
            exchange.problem(500, "internal error; the log has the details", close=True)
        if len(self.exchanges) >= MAX_PIPELINED:
            self._waits |= FULL

    # -- waiting ------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        self._waits |= HELD

    def _take_turns(self) -> None:
        self._waits |= TURN
        self._server.take_turns(self)

    def next_turn(self) -> int:
        """Takes further requests, unless something else keeps them back; returns how many bytes it parsed."""
        self._waits &= ~TURN
        transport = self._transport
        if self._waits or transport is None or transport.is_closing():
            return 0
        data, self._rest = self._rest, b""
        self._received_s = self._server.now_s()
        self._parse(data)
        if not self._waits:
            transport.resume_reading()
        return len(data) - len(self._rest)

    def _go_on(self, reasons: int) -> None:
        """Takes further requests, if these were the only reasons not to.

        Not at once, within the reply that ended the reasons: a reply may follow each request at once.
        """
        self._waits &= ~reasons
        if not self._waits and self._rest:
            self._take_turns()
        elif not self._waits and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # -- replies ------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        try:
            transport.write(data)
        except RuntimeError:
            # uvloop raises when the peer has gone. One caller's leaving must never cost others their replies.
            if not transport.is_closing():
                raise

    def finished(self, exchange: Exchange) -> None:
        """A reply was written whole."""
        if not exchange.keep_alive:
            self._end()
        elif self.exchanges:
            if self._waits & FULL and len(self.exchanges) <= MAX_PIPELINED // 2:
                self._go_on(FULL)
        else:
            if self._waits:
                self._go_on(HELD | FULL)
            if not self._parser.is_receiving:
                self._since_s = self._server.swept_s
            if self._server.closes_idle:
                self.close_when_idle()

    def pause_writing(self) -> None:
        self._waits |= BLOCKED
        self._since_s = self._server.now_s()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        now_s = self._server.now_s()
        self._since_s = now_s
        if self._parser.is_receiving:
            self._parser.began_s = now_s
        self._release()
        self._go_on(BLOCKED)

    def _release(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    async def drain(self) -> None:
        if self._waits & BLOCKED and self._transport is not None:
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await self._drained

    def peer(self) -> str:
        transport = self._transport
        name = None if transport is None else transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) and name else ""

    # -- ends ---------------------------------------------------------------------------------------------------

    def _refuse(self, status: int, detail: str) -> None:
        """Answers what cannot be parsed any further, after the replies that are due before it, and closes."""
        self._ending = LAST
        exchange = Exchange(self, keep_alive=False)
        self.exchanges.append(exchange)
        exchange.problem(status, detail)

    def _abandon(self) -> None:
        for exchange in self.exchanges:
            exchange.disconnected()
        self.exchanges.clear()

    def _end(self) -> None:
        """The last reply was written. Requests behind it were not to be answered any more."""
        self._abandon()
        transport = self._transport
        if transport is None:
            return
        self._ending = LINGERING
        self._since_s = self._server.now_s()
        self._rest = b""
        if transport.is_closing() or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        if not self._waits & BLOCKED:
            transport.resume_reading()

    def check_deadlines(self, now_s: float) -> None:
        transport = self._transport
        if transport is None:
            return
        waited_s = now_s - self._since_s
        if self._waits & BLOCKED:
            if waited_s > self._limits.write_s:
                transport.abort()
        elif self._ending:
            if self._ending == LINGERING and waited_s > LINGER_S:
                transport.abort()
        elif self._parser.is_receiving:
            if now_s - self._parser.began_s > self._limits.request_s:
                self._refuse(408, "the request took too long to arrive")
        elif not self.exchanges and not self._rest and waited_s > self._limits.idle_s:
            transport.close()

    def close_when_idle(self) -> None:
        is_idle = not self.exchanges and not self._rest and not self._parser.is_receiving
        if is_idle and self._transport is not None:
            self._transport.close()
