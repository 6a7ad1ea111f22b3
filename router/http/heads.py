"""A memory of request heads that come again and again. Pure.

A client repeats its head byte for byte with every request on every connection. Only the body differs, and with it
sometimes the content-length. Parsing depends on the bytes alone. So the parser's result for a head holds whenever the
same bytes come again, and remembering it saves a third of the gateway's own work for a small request
(docs/data-plane.md).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from router.http.request import Head

MAX_HEADS: Final = 1_024
MAX_HEAD_BYTES: Final = 2_048
END: Final = b"\r\n\r\n"
_NOT_KEPT: Final = frozenset({b"cookie", b"traceparent", b"tracestate", b"x-request-id", b"if-match"})
"""Headers of heads that do not come again, or that hold secrets."""
_KEY: Final = b"authorization"
"""Kept only with a key that was right, for a handler that looks it up again when keys change."""
_FRAMING: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
"""Headers that make a request more than a head and a body of known size."""


@mypyc_attr(allow_interpreted_subclasses=True)
class HeadCache:
    """Heads by their bytes, at most `MAX_HEADS`. When it is full, it is emptied."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> Head | None:
        """The known head of a packet that is exactly one request; None if it is anything else."""
        head = self._heads.get(data[: data.find(END) + 4])
        return None if head is None or head.packet_bytes != len(data) else head

    def keep(self, data: bytes, head: Head, body_bytes: int) -> None:
        """Remembers a head. ``data`` was one whole request that keeps the connection, with a body of that size.

        Its handler has seen it before.
        """
        end = len(data) - body_bytes
        names = {name for name, _ in head.headers}
        is_plain = head.http_version == "1.1" and names.isdisjoint(_NOT_KEPT) and names.isdisjoint(_FRAMING)
        # `find` cuts at the first empty line. Bytes before the head, or a body after another cut, would mislead it.
        if _KEY in names and not head.has_known_key:
            return
        if not is_plain or end > MAX_HEAD_BYTES or data.find(END) + 4 != end:
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        head.raw = data[:end]
        head.packet_bytes = len(data)
        self._heads[head.raw] = head
