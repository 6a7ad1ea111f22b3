from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind, StatusCode

from router.traces.frames import Requests, decode_requests, encode
from router.traces.spans import SpanMaker

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def record(traceparent=b"", status=200, code="", version="3.1", times=(10.0, 10.001, 10.004), compute_us=2_000):
    return (traceparent, 7, b"r-1", "churn", version, True, status, code, 2, 8, *times, compute_us)


def made(*records, offset_s=1_000.0):
    numbers = iter(range(1, 1_000))
    maker = SpanMaker(Resource.create({"service.name": "test"}), lambda bits: next(numbers))
    return maker.spans(Requests(offset_s, list(records)))


def test_a_request_has_its_wait_and_its_computing_as_children():
    request, queue, compute = made(record())
    assert [span.name for span in (request, queue, compute)] == ["predict churn", "queue", "compute"]
    assert [span.kind for span in (request, queue, compute)] == [SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.INTERNAL]
    assert request.parent is None
    assert {queue.parent.span_id, compute.parent.span_id} == {request.context.span_id}
    assert {span.context.trace_id for span in (request, queue, compute)} == {1 << 64 | 7}
    assert len({span.context.span_id for span in (request, queue, compute)}) == 3
    assert [(span.start_time, span.end_time) for span in (request, queue, compute)] == [
        (1_010_000_000_000, 1_010_004_000_000),
        (1_010_000_000_000, 1_010_001_000_000),
        (1_010_002_000_000, 1_010_004_000_000),
    ]
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "divisions.request_id": "r-1",
        "divisions.endpoint": "churn",
        "divisions.rows": 2,
        "divisions.version": "3.1",
        "divisions.arm": "canary",
        "divisions.batch.rows": 8,
    }


def test_a_callers_trace_goes_on():
    request, queue, _ = made(record(PARENT))
    assert request.parent.span_id == 0x00F067AA0BA902B7
    assert request.parent.is_remote
    assert request.context.trace_id == queue.context.trace_id == 0x4BF92F3577B34DA6A3CE929D0E0E4736


def test_a_refusal_has_its_code_and_only_the_servers_faults_are_errors():
    (busy,) = made(record(status=503, code="overloaded", version="", times=(10.0, 0.0, 10.001)))
    assert busy.status.status_code is StatusCode.ERROR
    assert busy.attributes["error.type"] == "overloaded"
    assert "divisions.version" not in busy.attributes
    (wrong,) = made(record(status=422, code="invalid", version="", times=(10.0, 0.0, 10.001)))
    assert wrong.status.status_code is StatusCode.UNSET


@given(
    st.tuples(*[st.floats(0.001, 1e6)] * 3),
    st.integers(0, 1 << 32),
    st.binary(max_size=130),
    st.sampled_from([b"", PARENT]),
)
def test_whatever_the_times_no_span_ends_before_it_begins_and_all_can_be_sent(times, compute_us, request_id, parent):
    one = (parent, 7, request_id, "churn", "3.1", False, 200, "", 1, 1, *times, compute_us)
    requests = decode_requests(encode(Requests(1e9, [one]))[4:])
    assert requests.records == [one]
    spans = made(*requests.records)
    assert all(span.start_time <= span.end_time for span in spans)
    encode_spans(spans).SerializeToString()
