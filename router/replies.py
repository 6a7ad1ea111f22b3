"""The replies to predict requests as templates: what those of one version have in common is put together once. Pure."""

from __future__ import annotations

from router.jobs import Version

OK = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: application/json\r\n"
    b"x-request-id: %s\r\n"
    b"x-model-version: %s\r\n"
    b"server-timing: queue;dur=%s, compute;dur=%s\r\n"
    b"%s"
    b"content-length: %s\r\n"
    b"\r\n"
    b"%s"
)
"""A whole reply; the gaps are request id, versions, milliseconds queued and computed, more headers, length and body."""


class ReplyForm:
    """A version's reply for one row, with gaps for what differs.

    Args:
        entity: the name of the entity, as it stands in JSON.
        endpoint: the name of the endpoint, likewise.
        version: who answers.
    """

    __slots__ = ("_compute_ms", "_compute_us", "fixed_bytes", "text")

    def __init__(self, entity: bytes, endpoint: bytes, version: Version) -> None:
        body = b'{"%s":%%s,"%s_probability":%%s,"model":"%s","version":"%s","request_id":"%%s"}' % (
            _literal(entity),
            _literal(endpoint),
            _literal(version.model),
            _literal(version.label),
        )
        self.text = OK % (b"%s", _literal(version.label), b"%.3f", b"%s", b"%s", b"%d", body)
        """Gaps: request id, queued (a float), computed, more headers, length, entity, score, request id."""
        self.fixed_bytes = len(body % (b"", b"", b""))
        """The length of its body while the gaps are empty."""
        self._compute_us = -1
        self._compute_ms = b""

    def compute_ms(self, compute_us: int) -> bytes:
        """The engine's time as text. The replies of a batch have it in common."""
        if compute_us != self._compute_us:
            self._compute_us = compute_us
            self._compute_ms = b"%.3f" % (compute_us * 1e-3)
        return self._compute_ms


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
