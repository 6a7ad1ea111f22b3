"""A complete request, its head, and what answers requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from mypy_extensions import mypyc_attr

from router.http.exchange import Exchange, Headers


class Head:
    """A request's head. ``headers`` have lower-case names, in order, unmerged.

    All requests with the same bytes before the body share one head.
    """

    __slots__ = (
        "derived",
        "handler",
        "has_known_key",
        "headers",
        "http_version",
        "method",
        "packet_bytes",
        "raw",
        "url",
    )

    def __init__(self, method: bytes, url: bytes, headers: Headers, http_version: str) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.http_version = http_version
        self.raw = b""
        """Its bytes, the empty line included. Empty unless the head is remembered."""
        self.packet_bytes = 0
        """Size of the head and its body together."""
        self.handler: Handler | None = None
        """Answers requests with this head. None until it is known."""
        self.has_known_key = False
        """Whether its handler has found whose key it has, and finds that again when keys change."""
        self.derived: Any = None
        """What the request's handler has computed from this head. Only that handler reads it."""

    def begins(self, data: bytes) -> bool:
        """Whether ``data`` is exactly one request with this head."""
        return len(data) == self.packet_bytes and data.startswith(self.raw)

    def header(self, name: bytes) -> bytes | None:
        return next((value for each, value in self.headers if each == name), None)


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
