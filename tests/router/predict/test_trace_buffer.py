from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from router.predict.trace_buffer import TraceBuffer

GOOD = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def buffer(**changes) -> TraceBuffer:
    given = {"follows_parent": True, "bound": 1 << 64, "draw": lambda: 5, "now_s": lambda: 2.0} | changes
    return TraceBuffer(**given)


def replied(traces: TraceBuffer, traceparent: bytes = b"", received_s: float = 1.0) -> None:
    traces.replied(traceparent, b"r-1", "churn", 1, 200, "", received_s)


@given(st.binary(max_size=80) | st.from_regex(rb"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?\Z"))
@example(GOOD)
@example(GOOD + b"\n")
@example(b"ff" + GOOD[2:])
@example(b"01" + GOOD[2:] + b"-more")
@example(GOOD + b"-more")
@example(b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01")
@example(b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01")
@example(GOOD.upper())
@example(b"01" + GOOD[2:] + b"-\n")
def test_only_a_valid_context_is_taken_and_any_other_begins_a_new_trace(text):
    traces = buffer(follows_parent=False)
    replied(traces, text)
    ((parent, low, *_),) = traces.take(10)
    # Headers are latin-1; the propagator reads more than the standard allows, never less.
    carrier = {"traceparent": text.decode("latin-1")}
    known = trace.get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
    if parent:
        assert text.startswith(parent)
        assert (low, known.is_valid) == (0, True)
        assert known.trace_id == int(parent[3:35], 16)
        assert known.span_id == int(parent[36:52], 16)
    else:
        assert low == 5
        assert text != GOOD


def test_the_callers_decision_holds():
    traces = buffer(bound=0)
    for flags in (b"00", b"01", b"03", b"02"):
        replied(traces, GOOD[:-2] + flags)
    assert [record[0][-2:] for record in traces.take(10)] == [b"01", b"03"]


def test_a_full_buffer_costs_the_newest_and_counts_them():
    traces = buffer(max_records=3)
    for number in range(5):
        replied(traces, received_s=float(number + 1))
    assert (len(traces), traces.lost) == (3, 2)
    assert [record[10] for record in traces.take(2)] == [1.0, 2.0]
    assert [record[10] for record in traces.take(2)] == [3.0]
    assert traces.take(2) == []


def test_a_request_whose_head_was_not_read_begins_when_it_ends():
    traces = buffer()
    replied(traces, received_s=0.0)
    ((*_, arrived_s, sent_s, ended_s, compute_us),) = traces.take(1)
    assert (arrived_s, sent_s, ended_s, compute_us) == (2.0, 0.0, 2.0, 0)
