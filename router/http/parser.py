"""Requests from bytes: the strict parser httptools, and the limits and rules that it does not have. Without I/O.

The caller feeds parts of what it received. A part holds the end of at most one request, so the caller decides after
each request whether to take another.

A request passes through these phases:

    IDLE --first byte--> HEAD --empty line--> SIZED | CHUNKED --last byte--> IDLE
                          |  ^                                           \\-> OVER, if it is the connection's last
                          v  |
                         OFFER: the head offers another protocol, and is parsed once more without the offer
"""

from __future__ import annotations

import logging
from typing import Any, Final, NoReturn

import httptools

from router.http import hosts
from router.http.exchange import Headers
from router.http.limits import HttpLimits
from router.http.request import Head

log = logging.getLogger(__name__)

IDLE: Final = 0
"""No byte of a request has come, and another may come."""
HEAD: Final = 1
OFFER: Final = 2
SIZED: Final = 3
"""In a body of known length, or behind a head without a body."""
CHUNKED: Final = 4
OVER: Final = 5
"""No further request is taken."""

_END: Final = b"\r\n\r\n"
_SEPARATORS: Final = 4
"""Bytes of a header beside its name and value: colon, space, CR, LF."""


class Refusal:
    """Why a request is not taken."""

    __slots__ = ("detail", "status")

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail


class RequestParser:
    """One connection's parser. See the module.

    `close` must be called at the end: this object and httptools' parser refer to each other.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._max_header_bytes = limits.max_header_bytes
        self._max_headers = limits.max_headers
        self._max_body_bytes = limits.max_body_bytes
        self._allowed_hosts = limits.allowed_hosts
        self._wire: Any = httptools.HttpRequestParser(self)
        self.phase = IDLE
        self.now_s = 0.0
        """Set by the caller before it feeds."""
        self.began_s = 0.0
        """When the first byte of the request in progress came."""
        self.refusal: Refusal | None = None
        """Set when parsing ended for good. A complete request comes before it."""
        self.complete: Head | None = None
        """A complete request. The caller takes it with `take_body` before it feeds more."""
        self.keep_alive = True
        """Whether the complete request lets the connection go on."""
        self.wants_continue = False
        """Whether the request in progress waits for ``100 Continue``; the caller resets it."""
        self._complete_body = b""
        self._url = b""
        self._headers: Headers = []
        self._num_headers = 0
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._length = 0
        self._tail = b""
        self._has_begun = False
        self._unfinished_bytes = 0

    @property
    def is_receiving(self) -> bool:
        """Whether a request has begun and is not complete."""
        return IDLE < self.phase < OVER

    def take_body(self) -> bytes:
        """The body of the complete request, which is then forgotten here."""
        body, self._complete_body = self._complete_body, b""
        self.complete = None
        return body

    def close(self) -> None:
        """Ends parsing for good, and frees what is held."""
        self.phase = OVER
        self._wire = None
        self._body = []
        self._headers = []
        self._complete_body = b""

    # -- parts --------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, start: int) -> int:
        """Parses the next part of ``data`` from ``start``; returns where the part ends."""
        was_phase, had_bytes, found = self.phase, self._body_bytes, -1
        if was_phase == SIZED:
            end = min(len(data), start + self._length - had_bytes)
        else:
            found = end_of_head(self._tail, data, start)
            end = len(data) if found < 0 or data.find(_END, found) < 0 else found
        part = data[start:end]
        self._has_begun = False
        rest = self._parse(part)
        while rest is not None:
            rest = self._parse(rest)
        if self.phase in (HEAD, CHUNKED):
            self._tail = (self._tail + part)[-3:]
            self._limit_unfinished(part, start, found, was_phase, had_bytes)
        else:
            self._tail = b""
        return end

    def _limit_unfinished(self, part: bytes, start: int, found: int, was_phase: int, had_bytes: int) -> None:
        """Limits what httptools keeps until it is whole: a header, a chunk's extension, a trailer."""
        if self.phase == CHUNKED:
            is_body_growing = self._body_bytes != had_bytes
            self._unfinished_bytes = (
                0 if is_body_growing or was_phase != CHUNKED else self._unfinished_bytes + len(part)
            )
        elif not self._has_begun:
            self._unfinished_bytes += len(part)
        else:
            before = max(0, found - start) if self.complete is not None else 0
            if self.complete is not None and was_phase != CHUNKED:
                before += len(self._complete_body)
            self._unfinished_bytes = len(part) - before
        if self._unfinished_bytes > self._max_header_bytes:
            self._refuse_headers()

    def _parse(self, data: bytes) -> bytes | None:
        """Feeds httptools; returns what is to be parsed next, if the head was an offer to upgrade."""
        wire = self._wire
        try:
            wire.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            passed = upgrade.args[0]
        except httptools.HttpParserCallbackError as error:
            if self.phase != OVER:
                log.error("a request could not be parsed", exc_info=error)
                self._refuse(500, "internal error; the log has the details")
            return None
        except httptools.HttpParserError as error:
            if self.phase != OVER:  # What follows the last request is not looked at.
                self._refuse_malformed(str(error))
            return None
        else:
            return None
        if self.phase != OFFER:
            return None
        return self._without_offer(wire) + data[passed:]

    def _without_offer(self, wire: Any) -> bytes:
        """The head again, without its offer to upgrade, which a server may ignore (RFC 9110, 7.8).

        Many clients offer h2c.
        At such an offer httptools stops after the head, as if the other protocol followed. Parsing on from there would
        take a body for the next request.
        """
        head = [b"%s %s HTTP/%s\r\n" % (wire.get_method(), self._url, wire.get_http_version().encode())]
        head += [b"%s: %s\r\n" % header for header in self._headers if header[0] != b"upgrade"]
        self._wire = httptools.HttpRequestParser(self)
        return b"".join([*head, b"\r\n"])

    # -- httptools' callbacks -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.phase == OVER:
            raise _StopError
        if self.phase == IDLE:  # not when an offer is parsed again
            self.began_s = self.now_s
            self._has_begun = True
        self.phase = HEAD
        self._url = b""
        self._headers = []
        self._num_headers = 0
        self._header_bytes = 0
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._header_bytes += len(url)
        if self._header_bytes > self._max_header_bytes:
            self._stop(431, "the URL is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + _SEPARATORS
        self._num_headers += 1
        if self._header_bytes > self._max_header_bytes or self._num_headers > self._max_headers:
            self._refuse_headers()
            raise _StopError
        if self.phase == HEAD:  # Trailers are dropped: nothing checked them (RFC 9110, 6.5.1).
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        wire = self._wire
        version = wire.get_http_version()
        if version not in {"1.1", "1.0"}:
            self._stop(505, "this server speaks HTTP/1.1 and HTTP/1.0")
        method = wire.get_method()
        if wire.should_upgrade():
            if method == b"CONNECT":
                self._stop(405, "this server is no proxy")
            self.phase = OFFER
            return
        named = b""
        if not self._url.startswith(b"/") and not (self._url == b"*" and method == b"OPTIONS"):
            named = self._split_absolute_url()
        self._check_headers(version, named)

    def _check_headers(self, version: str, named: bytes) -> None:
        """``named`` is the host of an absolute target, which counts as much as the header (RFC 9112, 3.2.2)."""
        num_hosts = 0
        phase = SIZED
        expects = False
        is_any_host = self._url.partition(b"?")[0] in self._limits.any_host_targets
        if named:
            self._check_host(named, is_any_host)
        for name, value in self._headers:
            if name == b"host":
                num_hosts += 1
                self._check_host(value, is_any_host)
            elif name == b"content-length":
                if len(value) > 18 or int(value) > self._max_body_bytes:
                    self._stop_large()
                self._length = int(value)
            elif name == b"transfer-encoding":
                if value.strip().lower() != b"chunked" or phase == CHUNKED:
                    self._stop(501, "the only transfer encoding that is taken is chunked")
                phase = CHUNKED
            elif name == b"content-encoding" and value.lower() != b"identity":
                self._stop(415, "compressed bodies are not taken; send the body as it is")
            elif name == b"expect":
                expects = value.lower() == b"100-continue"
        if num_hosts != 1 and (num_hosts or version == "1.1"):
            self._stop(400, "a request needs exactly one Host header")
        self.wants_continue = expects and version == "1.1"
        self.phase = phase

    def _split_absolute_url(self) -> bytes:
        """Makes the target of ``http://host/path`` a path; returns the host."""
        scheme, found, rest = self._url.partition(b"://")
        if not found or scheme.lower() not in {b"http", b"https"}:
            self._stop(400, "the request's target must be a path")
        end = min((place for mark in (b"/", b"?", b"#") if (place := rest.find(mark)) >= 0), default=len(rest))
        self._url = rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]
        return rest[:end]

    def _check_host(self, value: bytes, is_any_host: bool) -> None:
        allowed = self._allowed_hosts
        if value in allowed:
            return
        host = hosts.canonical(value)
        if host is None:
            self._stop(400, "the Host is malformed")
        if allowed and not is_any_host and host not in allowed:
            self._stop(421, "this server does not answer for that Host; see DIVISIONS_ALLOWED_HOSTS")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._stop_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self.phase == OFFER:
            return
        wire = self._wire
        version = wire.get_http_version()
        # HTTP/1.0 has no transfer encodings. A proxy may have seen another end of this request (RFC 9112, 6.1).
        self.keep_alive = wire.should_keep_alive() and not (version == "1.0" and self.phase == CHUNKED)
        self.phase = IDLE if self.keep_alive else OVER
        body = self._body
        self._complete_body = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self.complete = Head(wire.get_method(), self._url, self._headers, version)

    # -- refusals -----------------------------------------------------------------------------------------------

    def _refuse(self, status: int, detail: str) -> None:
        self.phase = OVER
        self._body = []
        if self.refusal is None:
            self.refusal = Refusal(status, detail)

    def _refuse_headers(self) -> None:
        limits = f"{self._max_header_bytes} bytes or {self._max_headers} fields"
        self._refuse(431, f"the headers are over {limits}")

    def _refuse_malformed(self, error: str) -> None:
        if error == "Invalid HTTP version":
            self._refuse(505, "this server speaks HTTP/1.1 and HTTP/1.0")
        else:
            self._refuse(400, "the request is not well-formed HTTP/1.1")

    def _stop(self, status: int, detail: str) -> NoReturn:
        """Refuses the request from within a callback."""
        self._refuse(status, detail)
        raise _StopError

    def _stop_large(self) -> NoReturn:
        self._stop(413, f"the body is over {self._max_body_bytes} bytes")


class _StopError(Exception):
    """Ends httptools' parsing."""


def end_of_head(tail: bytes, data: bytes, start: int) -> int:
    """Where the first empty line of ``data`` from ``start`` ends; -1 if there is none.

    Args:
        tail: up to 3 bytes that came before ``start``. The empty line may begin in them.

    >>> end_of_head(b"", b"a: b\\r\\n\\r\\nxy", 0), end_of_head(b"b\\r\\n", b"\\r\\nxy", 0), end_of_head(b"", b"xy", 0)
    (8, 2, -1)
    """
    if tail:
        found = (tail + data[start : start + 3]).find(_END)
        if found >= 0:
            return start + found + len(_END) - len(tail)
    found = data.find(_END, start)
    return -1 if found < 0 else found + len(_END)
