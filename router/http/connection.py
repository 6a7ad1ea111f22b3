"""HTTP/1.1 on the wire: an asyncio protocol over httptools, made for many small requests on kept connections.

It parses strictly (httptools refuses request smuggling: both lengths, bare LF, folded headers), adds the limits that
a parser does not have (deadlines, sizes, exactly one known Host), answers pipelined requests in order, and hands each
complete request to a `Handler`. It knows nothing of routes. Why this is not uvicorn's protocol: see docs/data-plane.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import httptools

from router.http.exchange import Connection, Exchange, Handler, Request
from router.http.heads import Head, HeadCache, Headers

log = logging.getLogger(__name__)

MAX_PIPELINED: Final = 128
LINGER_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a connection may ask of us. Times in seconds."""

    max_body_bytes: int = 1_048_576
    max_header_bytes: int = 32_768
    max_connections: int = 10_000
    request_s: float = 10.0
    """From a request's first byte to its last."""
    idle_s: float = 75.0
    """Between requests."""
    write_s: float = 30.0
    """A reply that the caller does not take for so long is dropped with its connection."""
    allowed_hosts: frozenset[bytes] = frozenset()
    """Lower-case names without ports; empty means any."""


class HttpServer:
    """The connections of one listening socket, and the clock that ends those that take too long."""

    def __init__(self, handler: Handler, limits: HttpLimits, now_s: Callable[[], float]) -> None:
        self.handler = handler
        self.limits = limits
        self.now_s = now_s
        self.connections: set[HttpConnection] = set()
        self.heads = HeadCache()
        self.is_closing = False
        self.swept_s = now_s()
        """The time, to about a second: near enough for how long a connection has been idle, and free."""

    def protocol(self) -> HttpConnection:
        return HttpConnection(self)

    def sweep(self) -> None:
        """Ends connections that are too slow; call it about once a second."""
        now_s = self.swept_s = self.now_s()
        for connection in list(self.connections):
            connection.check_deadlines(now_s)

    def close_idle(self) -> None:
        """Begins a graceful stop: idle connections end now, busy ones after their reply."""
        self.is_closing = True
        for connection in list(self.connections):
            connection.close_when_idle()


class HttpConnection(Connection):
    """See the module. An `asyncio.Protocol` by its methods; to inherit from that would cost the compiled one speed."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._heads = server.heads
        self._is_between = True  # no part of a request has come, and the parser would take another
        self._is_first = True
        self._lone_head: Head | None = None
        self._last_head: Head | None = None
        self.exchanges: deque[Exchange] = deque()
        self._since_s = server.now_s()  # when the present state began: idle, receiving or blocked
        self._is_receiving = False
        self._is_refused = False
        self._is_blocked = False
        self._drained: asyncio.Future[None] | None = None
        self._url = b""
        self._headers: Headers = []
        self._header_bytes = 0
        self._is_in_head = False
        self._is_offer = False
        self._has_begun = False
        self._head_bytes = 0
        self._body_before = 0
        self._received_s = self._since_s
        self._body: list[bytes] = []
        self._body_bytes = 0

    # -- connection ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._server.connections.add(self)
        if len(self._server.connections) > self._limits.max_connections:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)
        for exchange in self.exchanges:
            exchange.disconnected()
        self.exchanges.clear()
        self._release()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._received_s = self._server.now_s()
        was_between = self._is_between
        if was_between:
            head = self._last_head  # A connection's requests are mostly alike: no need to look it up.
            if head is None or not head.begins(data):
                head = self._last_head = self._heads.find(data)
            if head is not None:
                self._since_s = self._received_s
                try:
                    self._handle(head, data[len(head.raw) :], keep_alive=True)
                except Exception:
                    log.exception("a request could not be handled")
                    self._refuse(500, "internal error; the log has the details")
                if len(self.exchanges) > MAX_PIPELINED:
                    self._brake()
                return
        self._begin_packet()
        try:
            try:
                self._parser.feed_data(data)
                if was_between and self._is_between and self._lone_head is not None:
                    self._heads.keep(data, self._lone_head, self._body_bytes)
            except httptools.HttpParserUpgrade as upgrade:
                self._pass_over_offers(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, _RefusedError):
                self._refuse(cause.status, cause.detail)
            else:
                log.error("a request could not be handled", exc_info=cause or error)
                self._refuse(500, "internal error; the log has the details")
        except httptools.HttpParserError:
            self._refuse(400, "the request is not well-formed HTTP/1.1")
        if self._is_receiving and self._is_in_head:
            # The parser keeps a header until it is whole, however long that takes.
            self._head_bytes += self._part_of_head(data) if self._has_begun else len(data)
            if self._head_bytes > self._limits.max_header_bytes and not self._is_refused:
                self._refuse(431, f"the headers are over {self._limits.max_header_bytes} bytes")
        if len(self.exchanges) > MAX_PIPELINED:
            self._brake()

    def _begin_packet(self) -> None:
        self._has_begun = False
        self._is_first = True
        self._lone_head = None

    def _brake(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _pass_over_offers(self, rest: bytes) -> None:
        """Goes on after an offer to upgrade (many clients offer h2c), which RFC 9110, 7.8, lets a server ignore.

        At such an offer the parser stops after the head, as if the body were the other protocol already. Read on like
        that, a body would be taken for the next request. So the request is parsed once more, without its offer.
        """
        while True:
            old = self._parser
            head = [b"%s %s HTTP/%s\r\n" % (old.get_method(), self._url, old.get_http_version().encode())]
            head += [b"%s: %s\r\n" % header for header in self._headers if header[0] != b"upgrade"]
            data = b"".join([*head, b"\r\n", rest])
            self._is_offer = False
            self._parser = httptools.HttpRequestParser(self)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]
            else:
                return

    def _part_of_head(self, data: bytes) -> int:
        """About how much of ``data`` belongs to the head that begins in it, behind other requests perhaps."""
        return max(0, len(data.rpartition(b"\r\n\r\n")[2]) - self._body_before)

    # -- parser callbacks ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._is_receiving = True
        self._is_between = False
        self._since_s = self._received_s
        self._url = b""
        self._headers = []
        self._header_bytes = 0
        self._is_in_head = True
        self._has_begun = True
        self._head_bytes = 0
        self._body = []
        self._body_before = self._body_bytes
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._header_bytes += len(url)
        if self._header_bytes > self._limits.max_header_bytes:
            raise _RefusedError(431, "the URL is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._limits.max_header_bytes:
            raise _RefusedError(431, f"the headers are over {self._limits.max_header_bytes} bytes")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._parser.should_upgrade():
            if self._parser.get_method() == b"CONNECT":
                raise _RefusedError(405, "this server is no proxy")
            self._is_offer = True
            return  # `_pass_over_offers` comes back with the rest of the head.
        if not self._url.startswith(b"/"):
            self._accept_absolute_url()
        hosts = 0
        expects = False
        for name, value in self._headers:
            if name == b"host":
                hosts += 1
                self._check_host(value)
            elif name == b"content-length":
                if len(value) > 18 or int(value) > self._limits.max_body_bytes:
                    raise _RefusedError(413, f"the body is over {self._limits.max_body_bytes} bytes")
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise _RefusedError(415, "compressed bodies are not taken; send the body as it is")
            elif name == b"expect":
                expects = True
        if hosts != 1:
            raise _RefusedError(400, "a request needs exactly one Host header")
        if expects and self._transport is not None and not self.exchanges:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _accept_absolute_url(self) -> None:
        """``http://host/path`` names a host too (RFC 9112, 3.2.2), which counts as much as the header."""
        scheme, found, rest = self._url.partition(b"://")
        if not found or scheme.lower() not in {b"http", b"https"}:
            raise _RefusedError(400, "the request's target must be a path")
        host, _, path = rest.partition(b"/")
        self._check_host(host)
        self._url = b"/" + path

    def _check_host(self, value: bytes) -> None:
        allowed = self._limits.allowed_hosts
        if allowed and value not in allowed:
            name = value.lower()
            name = name.partition(b"]")[0] + b"]" if name.startswith(b"[") else name.partition(b":")[0]
            if name not in allowed:
                raise _RefusedError(421, "this server does not answer for that Host; see DIVISIONS_ALLOWED_HOSTS")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.max_body_bytes:
            raise _RefusedError(413, f"the body is over {self._limits.max_body_bytes} bytes")
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._is_offer:
            return
        self._is_receiving = False
        self._since_s = self._received_s
        parser = self._parser
        body = self._body
        self._is_between = keep_alive = parser.should_keep_alive()
        head = Head(parser.get_method(), self._url, self._headers, parser.get_http_version())
        self._lone_head = head if self._is_first else None
        self._is_first = False
        self._handle(head, body[0] if len(body) == 1 else b"".join(body), keep_alive=keep_alive)

    def _handle(self, head: Head, body: bytes, *, keep_alive: bool) -> None:
        exchange = Exchange(self, keep_alive and not self._server.is_closing)
        self.exchanges.append(exchange)
        handler = head.handler or self._server.handler
        handler.handle(Request(head, body, exchange, self._received_s))

    # -- replies ------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        try:
            transport.write(data)
        except RuntimeError:
            # uvloop raises when the peer has gone; one caller's leaving must never cost the others their replies.
            if not transport.is_closing():
                raise

    def finished(self, exchange: Exchange) -> None:
        """A reply was written whole."""
        if not exchange.keep_alive:
            self._end()
        elif not self.exchanges:
            if not self._is_receiving:
                self._since_s = self._server.swept_s
            if self._server.is_closing:
                self.close_when_idle()
        elif len(self.exchanges) == MAX_PIPELINED // 2 and self._transport is not None:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._is_blocked = True
        self._since_s = self._server.now_s()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_blocked = False
        self._since_s = self._server.now_s()
        if self._transport is not None:
            self._transport.resume_reading()
        self._release()

    def _release(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    async def drain(self) -> None:
        if self._is_blocked and self._transport is not None:
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await self._drained

    # -- ends ---------------------------------------------------------------------------------------------------

    def _refuse(self, status: int, detail: str) -> None:
        """Answers what cannot be parsed any further, after the replies that are due before it, and closes."""
        self._is_refused = True
        self._since_s = self._server.now_s()
        exchange = Exchange(self, keep_alive=False)
        self.exchanges.append(exchange)
        exchange.problem(status, detail, close=True)

    def _end(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._is_refused and transport.can_write_eof():
            # Closing with unread data would reset the connection, and the caller would not see why.
            self._since_s = self._server.now_s()
            transport.write_eof()
        else:
            transport.close()

    def check_deadlines(self, now_s: float) -> None:
        waited_s = now_s - self._since_s
        if self._is_refused:
            if waited_s > LINGER_S and self._transport is not None:
                self._transport.abort()
        elif self._is_blocked:
            if waited_s > self._limits.write_s and self._transport is not None:
                self._transport.abort()
        elif self._is_receiving:
            if waited_s > self._limits.request_s:
                self._refuse(408, "the request took too long to arrive")
        elif not self.exchanges and waited_s > self._limits.idle_s and self._transport is not None:
            self._transport.close()

    def close_when_idle(self) -> None:
        if not self.exchanges and self._transport is not None:
            self._transport.close()


class _RefusedError(Exception):
    """Ends parsing with a status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
