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


_TAKEN: Final = frozenset(
    {b"model", b"version", b"request_id", b"predictions", b"features_as_of", b"features_status", b"explanation"}
)
"""The names of other members of a reply."""


class ReplyTemplate:
    """A version's reply for one row, with gaps for what differs. There are two texts, one for yes and one for no.

    An endpoint whose name another member of the reply has gets no decision.

    Args:
        entity: the name of the entity, encoded for JSON.
        endpoint: the name of the endpoint, likewise.
        version: the version that answers.
    """

    __slots__ = (
        "_compute_ms",
        "_compute_us",
        "_no",
        "_no_bytes",
        "_no_text",
        "_threshold",
        "_yes",
        "_yes_bytes",
        "_yes_text",
    )

    def __init__(self, entity: bytes, endpoint: bytes, version: Version) -> None:
        threshold = version.decision_threshold
        is_decided = threshold is not None and endpoint not in _TAKEN and endpoint != entity
        self._threshold = threshold if threshold is not None else 2.0  # no score is so high
        self._yes = b',"%s":true' % endpoint if is_decided else b""
        self._no = b',"%s":false' % endpoint if is_decided else b""
        self._yes_text, self._yes_bytes = _texts(entity, endpoint, version, self._yes)
        self._no_text, self._no_bytes = _texts(entity, endpoint, version, self._no)
        self._compute_us = -1
        self._compute_ms = b""

    def decision(self, score: float) -> bytes:
        """The member that says yes or no, after a comma; empty if the version does not decide."""
        return self._yes if score >= self._threshold else self._no

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
        if score >= self._threshold:
            form, fixed = self._yes_text, self._yes_bytes
        else:
            form, fixed = self._no_text, self._no_bytes
        text = b"%.8g" % score
        length = fixed + len(entity) + len(text) + len(request_id)
        return form % (
            request_id,
            millis(max(0, total_us - compute_us)),
            self._compute_ms,
            headers,
            _NUMBERS[length] if length < len(_NUMBERS) else b"%d" % length,
            entity,
            text,
            request_id,
        )


def _texts(entity: bytes, endpoint: bytes, version: Version, decision: bytes) -> tuple[bytes, int]:
    """A reply with gaps, and the length of its body while they are empty."""
    body = b'{"%s":%%s,"%s_probability":%%s%s,"model":"%s","version":"%s","request_id":"%%s"}' % (
        _literal(entity),
        _literal(endpoint),
        _literal(decision),
        _literal(version.model),
        _literal(version.label),
    )
    return OK % (b"%s", _literal(version.label), b"%s", b"%s", b"%s", b"%s", body), len(body % (b"", b"", b""))


def millis(us: int) -> bytes:
    """Microseconds, from 0, as text in milliseconds."""
    return _MILLIS[us] if us < len(_MILLIS) else b"%d.%03d" % divmod(us, 1_000)


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
