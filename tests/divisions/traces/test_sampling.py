import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import sampling as sdk
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from divisions.traces.sampling import DEFAULT, sampling_of
from router.predict.trace_buffer import TraceBuffer

SDK = {
    "always_on": lambda ratio: sdk.ALWAYS_ON,
    "always_off": lambda ratio: sdk.ALWAYS_OFF,
    "parentbased_always_on": lambda ratio: sdk.DEFAULT_ON,
    "parentbased_always_off": lambda ratio: sdk.DEFAULT_OFF,
    "traceidratio": sdk.TraceIdRatioBased,
    "parentbased_traceidratio": sdk.ParentBasedTraceIdRatio,
}
IDS = st.integers(1, (1 << 128) - 1)


@given(
    st.sampled_from(sorted(SDK)),
    st.floats(0, 1),
    IDS,
    st.none() | st.booleans(),
)
def test_each_sampler_decides_as_opentelemetrys_own(name, ratio, trace_id, parent):
    sampling, problem = sampling_of(name, repr(ratio))
    assert problem == ""
    buffer = TraceBuffer(sampling.follows_parent, sampling.bound, lambda: trace_id & ((1 << 64) - 1), now_s=lambda: 1.0)
    traceparent, context = b"", None
    if parent is not None:
        traceparent = b"00-%032x-%016x-%02x" % (trace_id, 7, parent)
        own = SpanContext(trace_id, 7, is_remote=True, trace_flags=TraceFlags(int(parent)))
        context = set_span_in_context(NonRecordingSpan(own))
    buffer.replied(traceparent, b"r", "churn", 1, 200, "", 0.5)
    expected = SDK[name](ratio).should_sample(context, trace_id, "predict").decision.is_sampled()
    assert len(buffer) == expected


def test_without_a_name_the_callers_decision_holds_and_all_others_are_sampled():
    assert sampling_of("", "") == sampling_of(DEFAULT, "")
    assert sampling_of(" Always_ON ", "")[0] == sampling_of("always_on", "")[0]


@pytest.mark.parametrize(
    ("name", "argument", "problem"),
    [
        ("jaeger_remote", "", "OTEL_TRACES_SAMPLER is 'jaeger_remote'"),
        ("traceidratio", "2", "OTEL_TRACES_SAMPLER_ARG must be from 0 to 1, got '2'"),
        ("traceidratio", "nan", "OTEL_TRACES_SAMPLER_ARG must be from 0 to 1"),
        ("parentbased_traceidratio", "half", "OTEL_TRACES_SAMPLER_ARG must be from 0 to 1"),
    ],
)
def test_what_cannot_be_read_is_told_and_left_aside(name, argument, problem):
    sampling, told = sampling_of(name, argument)
    assert problem in told
    assert sampling.bound == 1 << 64
