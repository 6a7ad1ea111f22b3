"""The trace that a command or a program is in, as a ``traceparent`` of W3C Trace Context."""

from __future__ import annotations

import sys

from divisions.environment import parent_trace
from divisions.traces.parent import Parent, parent_of


def current_traceparent() -> str:
    """OpenTelemetry's current span, where this program uses it; else ``TRACEPARENT`` of the environment; else empty."""
    api = sys.modules.get("opentelemetry.trace")  # Who has not imported it has no span.
    if api is not None:
        context = api.get_current_span().get_span_context()
        if context.is_valid:
            return Parent(context.trace_id, context.span_id, bool(context.trace_flags.sampled)).text
    parent = parent_of(parent_trace())
    return parent.text if parent is not None else ""
