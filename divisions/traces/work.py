"""Spans of work: of runs, deployments and rollouts. They are few, so a thread of the process itself sends them.

Nothing here waits for the collector: spans go into a bounded queue, and what is lost is counted. `close` waits, but for
`CLOSE_S` at most.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divisions.environment import trace_sampler
from divisions.notice import SpanCounts
from divisions.settings import Settings
from divisions.traces import otlp
from divisions.traces.current import current_traceparent
from divisions.traces.exporting import Export, Exporting
from divisions.traces.parent import Attributes, Parent, WorkSpan, parent_of
from divisions.traces.sampling import Sampling, sampling_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span, SpanContext

log = logging.getLogger(__name__)

CLOSE_S = 5.0
MAX_WAITING = 2_048
SCOPE = "divisions.work"


@dataclass(frozen=True, slots=True)
class _Ended:
    records: Sequence[ReadableSpan]


class WorkTraces:
    """See the module. `open_traces` makes one.

    Args:
        resource: who the spans are of.
        export: sends them.
        sampling: which traces are sampled. A ratio is for requests: of work, which is rare, all is.
    """

    def __init__(self, resource: Resource, export: Export, sampling: Sampling) -> None:
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

        exporting: Exporting[_Ended] = Exporting(lambda ended: list(ended.records), export, MAX_WAITING)

        class _Queue(SpanProcessor):  # type: ignore[misc]  # OpenTelemetry's types are not followed
            def on_end(self, span: ReadableSpan) -> None:
                if span.context is not None and span.context.trace_flags.sampled:
                    exporting.take(_Ended([span]))

        root = ALWAYS_ON if sampling.bound else ALWAYS_OFF
        provider = TracerProvider(ParentBased(root) if sampling.follows_parent else root, resource)
        provider.add_span_processor(_Queue())
        self._tracer = provider.get_tracer(SCOPE)
        self._resource = resource
        self._sampling = sampling
        self._exporting = exporting
        exporting.start()

    @contextlib.contextmanager
    def span(self, name: str, attributes: Attributes, traceparent: str = "") -> Iterator[Span]:
        """The block as a span, and as the current one of OpenTelemetry. It is a child of the current one.

        Args:
            traceparent: the parent, where there is no current span; malformed or empty begins a trace.
        """
        from opentelemetry import trace

        parent = None if trace.get_current_span().get_span_context().is_valid else parent_of(traceparent)
        within = trace.set_span_in_context(trace.NonRecordingSpan(_context(parent))) if parent is not None else None
        span = self.start(name, attributes, within)
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except BaseException as error:
                end(span, told(error))
                raise
        end(span)

    def start(self, name: str, attributes: Attributes, within: Context | None = None) -> Span:
        """A span that its caller ends, a child of what is current ``within``; see `end`."""
        return self._tracer.start_span(name, within, attributes=dict(attributes))

    def takes(self, parent: Parent | None) -> bool:
        """Whether a trace with this parent is sampled."""
        if parent is not None and self._sampling.follows_parent:
            return parent.is_sampled
        return self._sampling.bound > 0

    def take(self, spans: Sequence[WorkSpan]) -> None:
        """Sends spans that are over."""
        self._exporting.take(_Ended([_readable(span, self._resource) for span in spans]))

    def counts(self) -> SpanCounts:
        return SpanCounts(self._exporting.exported, self._exporting.lost, self._exporting.fault)

    def close(self, timeout_s: float = CLOSE_S) -> SpanCounts:
        """Sends what waits, for so long. What the collector has not taken by then counts as lost."""
        self._exporting.close(timeout_s)
        counts = self.counts()
        rest = self._exporting.taken - counts.exported - counts.lost
        return SpanCounts(counts.exported, counts.lost + rest, counts.fault or ("it does not answer" if rest else ""))


def open_traces(settings: Settings, service: str) -> WorkTraces | None:
    """What sends spans of this process's work; None if traces are off, or OpenTelemetry is not installed."""
    if not settings.traces:
        return None
    if not otlp.is_installed():
        log.error("no traces: %s", otlp.NOT_INSTALLED)
        return None
    sampling, problem = sampling_of(*trace_sampler())
    if problem:
        log.warning("%s", problem)
    return WorkTraces(*otlp.opened(service), sampling)


@contextlib.contextmanager
def traced(traces: WorkTraces | None, name: str, attributes: Attributes) -> Iterator[Span | None]:
    """The block as the first span of a command, in the trace that ``TRACEPARENT`` names."""
    if traces is None:
        yield None
        return
    with traces.span(name, attributes, current_traceparent()) as span:
        yield span


def end(span: Span, error: str = "") -> None:
    """Ends a span; with an error, as failed."""
    if error:
        mark_failed(span, error)
    span.end()


def mark_failed(span: Span, error: str) -> None:
    """Says that a span has failed; somebody else ends it."""
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, error))


def told(error: BaseException) -> str:
    """What a span says of an error: short, and without secrets of URLs."""
    return otlp.without_secrets(f"{type(error).__name__}: {error}")


def _readable(span: WorkSpan, resource: Resource) -> ReadableSpan:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanKind, Status, StatusCode

    start_ns, end_ns = _ns(span.start_s), _ns(span.end_s)
    return ReadableSpan(
        span.name,
        _context(Parent(span.trace_id, span.span_id, is_sampled=True)),
        _context(Parent(span.trace_id, span.parent_id, is_sampled=True)) if span.parent_id else None,
        resource,
        span.attributes,
        kind=SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
        start_time=start_ns,
        end_time=max(start_ns, end_ns),
        instrumentation_scope=InstrumentationScope(SCOPE),
    )


def _context(parent: Parent) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    flags = TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT)
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)


def _ns(wall_s: float) -> int:
    return round(wall_s * 1e6) * 1_000
