"""The heads of requests, and a memory of those that come again and again. Pure.

A client repeats its head byte for byte with every request on every connection; only the body differs, and with it now
and then the content-length. Parsing is a function of the bytes alone, so what the parser made of a head before holds
for the same bytes again. That saves a third of the gateway's own work for a small request (docs/data-plane.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from router.http.exchange import Handler

Headers = list[tuple[bytes, bytes]]

MAX_HEADS: Final = 1_024
MAX_HEAD_BYTES: Final = 2_048
END: Final = b"\r\n\r\n"
_PASSING: Final = frozenset({b"authorization", b"cookie", b"traceparent", b"tracestate", b"x-request-id", b"if-match"})
"""Headers of heads that do not come again, or hold what should not lie about."""
_FRAMING: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
"""Headers that make more of a request than a head and so many bytes of body."""


class Head:
    """A request's head. ``headers`` have lower-case names, in order, unmerged. Shared by all requests that had it."""

    __slots__ = ("derived", "handler", "headers", "http_version", "method", "packet_bytes", "raw", "url")

    def __init__(self, method: bytes, url: bytes, headers: Headers, http_version: str) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.http_version = http_version
        self.raw = b""
        """Its bytes, the empty line included; nothing unless the head is remembered."""
        self.packet_bytes = 0
        """What it and its body measure together."""
        self.handler: Handler | None = None
        """Who answers requests with this head, once that is known."""
        self.derived: Any = None
        """Whatever the request's handler has made of this head; nobody else looks at it."""

    def begins(self, data: bytes) -> bool:
        """Whether ``data`` is one request with this very head."""
        return len(data) == self.packet_bytes and data.startswith(self.raw)

    def header(self, name: bytes) -> bytes | None:
        return next((value for each, value in self.headers if each == name), None)


@mypyc_attr(allow_interpreted_subclasses=True)
class HeadCache:
    """Heads by their bytes, at most `MAX_HEADS`; when it is full, it begins again."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> Head | None:
        """The known head of a packet that is exactly one request; None if it is anything else."""
        head = self._heads.get(data[: data.find(END) + 4])
        return None if head is None or head.packet_bytes != len(data) else head

    def keep(self, data: bytes, head: Head, body_bytes: int) -> None:
        """Remembers what the parser made of a packet that was one request, with that much body, and kept the line."""
        end = len(data) - body_bytes
        names = {name for name, _ in head.headers}
        is_plain = head.http_version == "1.1" and names.isdisjoint(_PASSING) and names.isdisjoint(_FRAMING)
        # A body that began with an empty line would be cut in another place.
        if not is_plain or end > MAX_HEAD_BYTES or data.find(END) + 4 != end:
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        head.raw = data[:end]
        head.packet_bytes = len(data)
        self._heads[head.raw] = head
