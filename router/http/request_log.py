"""Requests that could not be answered, as lines of JSON that join a caller's trace.

Answered requests are counted, not logged: a line for each would cost more than the answer. Failures are logged up to a
rate, because an overload must not become a flood of lines too. The next line says how many were left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import msgspec

from divisions.logs.json_lines import fields

log = logging.getLogger("divisions.requests")

LINES_PER_S = 20
FIRST_LOGGED_STATUS = 500
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class RequestLog:
    """Writes at most `LINES_PER_S` lines in any second."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def refused(self, endpoint: str, status: int, detail: str, request_id: bytes, traceparent: bytes) -> None:
        """Logs one request that got ``status``. ``traceparent`` is the W3C header as it came, or empty."""
        if status < FIRST_LOGGED_STATUS:
            return
        second = int(self._now_s())
        if second != self._second:
            self._second, self._lines = second, 0
        if self._lines >= LINES_PER_S:
            self._left_out += 1
            return
        self._lines += 1
        line: dict[str, object] = {
            "event": "request_failed",
            "endpoint": endpoint,
            "status": status,
            "detail": detail,
            "request_id": request_id.decode("ascii", "replace"),
        }
        # Anything else in the header is the caller's free text, which does not belong in a log.
        trace = _TRACEPARENT.fullmatch(traceparent)
        if trace is not None:
            line |= {"trace_id": trace[1].decode(), "parent_id": trace[2].decode()}
        if self._left_out:
            line["left_out_before"], self._left_out = self._left_out, 0
        log.warning("%s", msgspec.json.encode(line).decode(), extra=fields(**line))
