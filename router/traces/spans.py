"""Records of requests as spans: the request, its wait for a replica, and the computing of its batch.

    POST /api/v2/predict/{endpoint}   arrival ................................ reply
      queue                           arrival ....... leaves for the replica
      compute                                                 [the engine's time] answer

The replica tells how long it computed, not when. So ``compute`` ends with the answer. What is left between the two is
the way to the replica and back. Nothing of a customer is in a span: no features, no ids but the request's, no keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from router.traces.frames import Record, Requests

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

SCOPE = "divisions.gateway"


class SpanMaker:
    """Makes spans.

    Args:
        resource: who they are of.
        draw: gives so many random bits, not all of them 0.
    """

    def __init__(self, resource: Resource, draw: Callable[[int], int]) -> None:
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._resource = resource
        self._draw = draw
        self._scope = InstrumentationScope(SCOPE)

    def spans(self, requests: Requests) -> list[ReadableSpan]:
        """One or three for each request, the parent first."""
        return [span for record in requests.records for span in self._of(record, requests.offset_s)]

    def _of(self, record: Record, offset_s: float) -> Iterator[ReadableSpan]:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        traceparent, low, request_id, endpoint, version, is_canary, status, code, rows, batch_rows = record[:10]
        arrived_s, sent_s, ended_s, compute_us = record[10:]
        parent = _context(traceparent)
        trace_id = parent.trace_id if parent is not None else self._draw(64) << 64 | low
        attributes: dict[str, Any] = {
            "http.request.method": "POST",
            "http.response.status_code": status,
            "divisions.request_id": request_id.decode(errors="replace"),
        }
        if endpoint:
            attributes["divisions.endpoint"] = endpoint
        if rows:
            attributes["divisions.rows"] = rows
        if version:
            arm = "canary" if is_canary else "stable"
            attributes |= {"divisions.version": version, "divisions.arm": arm, "divisions.batch.rows": batch_rows}
        if code:
            attributes["error.type"] = code
        own = self._context_in(trace_id)
        name = f"predict {endpoint}" if endpoint else "predict"
        failed = Status(StatusCode.ERROR if status >= 500 else StatusCode.UNSET)
        arrived_ns, ended_ns = _ns(arrived_s + offset_s), _ns(ended_s + offset_s)
        yield self._span(name, own, parent, SpanKind.SERVER, attributes, arrived_ns, ended_ns, failed)
        if sent_s > 0.0:
            sent_ns = min(_ns(sent_s + offset_s), ended_ns)
            computed_ns = max(ended_ns - compute_us * 1_000, sent_ns)
            for child, start_ns, end_ns in (("queue", arrived_ns, sent_ns), ("compute", computed_ns, ended_ns)):
                context = self._context_in(trace_id)
                yield self._span(child, context, own, SpanKind.INTERNAL, {}, start_ns, end_ns, Status())

    def _context_in(self, trace_id: int) -> SpanContext:
        from opentelemetry.trace import SpanContext, TraceFlags

        return SpanContext(trace_id, self._draw(64), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: Any,
        attributes: dict[str, Any],
        start_ns: int,
        end_ns: int,
        status: Any,
    ) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan

        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            kind=kind,
            status=status,
            start_time=start_ns,
            end_time=max(start_ns, end_ns),
            instrumentation_scope=self._scope,
        )


def _context(traceparent: bytes) -> SpanContext | None:
    """The caller's span, which was checked when the request came; None without one."""
    from opentelemetry.trace import SpanContext, TraceFlags

    if not traceparent:
        return None
    _, trace_id, span_id, flags = traceparent.split(b"-")[:4]
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _ns(wall_s: float) -> int:
    return round(wall_s * 1e6) * 1_000
