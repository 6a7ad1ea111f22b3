"""The replies to predict requests as templates: what all replies of a version share is rendered once. Pure."""

from __future__ import annotations

from typing import Final

from router.predict.jobs import Version

_MILLIS: Final = tuple(b"%d.%03d" % divmod(us, 1_000) for us in range(10_000))
_NUMBERS: Final = tuple(b"%d" % number for number in range(1_024))
"""Most times and lengths of replies as text: a look-up is faster than formatting."""

OK: Final = (
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


class ReplyTemplate:
    """A version's reply for one row, with gaps for what differs.

    Args:
        entity: the name of the entity, encoded for JSON.
        endpoint: the name of the endpoint, likewise.
        version: the version that answers.
    """

    __slots__ = ("_compute_ms", "_compute_us", "_fixed_bytes", "_text")

    def __init__(self, entity: bytes, endpoint: bytes, version: Version) -> None:
        body = b'{"%s":%%s,"%s_probability":%%s,"model":"%s","version":"%s","request_id":"%%s"}' % (
            _literal(entity),
            _literal(endpoint),
            _literal(version.model),
            _literal(version.label),
        )
        self._text = OK % (b"%s", _literal(version.label), b"%s", b"%s", b"%s", b"%s", body)
        self._fixed_bytes = len(body % (b"", b"", b""))  # while the gaps are empty
        self._compute_us = -1
        self._compute_ms = b""

    def fill(
        self, request_id: bytes, total_us: int, compute_us: int, headers: bytes, entity: bytes, score: float
    ) -> bytes:
        """The reply to one request.

        Args:
            request_id: stands in a header and in the body.
            total_us: microseconds from arrival to now. What the engine did not take counts as queueing.
            compute_us: microseconds that the engine took.
            headers: more headers, each with its line end.
            entity: the customer's id, as JSON, and any members that follow it.
            score: the model's answer.
        """
        if compute_us != self._compute_us:  # All replies of a batch share it.
            self._compute_us = compute_us
            self._compute_ms = millis(compute_us)
        text = b"%.8g" % score
        length = self._fixed_bytes + len(entity) + len(text) + len(request_id)
        return self._text % (
            request_id,
            millis(max(0, total_us - compute_us)),
            self._compute_ms,
            headers,
            _NUMBERS[length] if length < len(_NUMBERS) else b"%d" % length,
            entity,
            text,
            request_id,
        )


def millis(us: int) -> bytes:
    """Microseconds, from 0, as text in milliseconds."""
    return _MILLIS[us] if us < len(_MILLIS) else b"%d.%03d" % divmod(us, 1_000)


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
