"""Spans of work, into OpenTelemetry's own exporter in memory."""

import os
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from divisions.sdk.calls import Call
from divisions.sdk.peer import Peer
from divisions.settings import load_settings
from divisions.traces import work
from divisions.traces.current import current_traceparent
from divisions.traces.otlp import export_by
from divisions.traces.parent import Parent, WorkSpan, parent_of
from divisions.traces.sampling import Sampling
from divisions.traces.steps import TracedProgress, TrialSpans
from divisions.traces.work import WorkTraces, open_traces, traced
from divisions.trials import Trial, TrialEnd

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ALL = Sampling(follows_parent=True, bound=1 << 64)


class Silent:
    """A progress that shows nothing."""

    def __getattr__(self, name):
        return lambda *arguments: None


@pytest.fixture
def memory():
    return InMemorySpanExporter()


def opened(memory, sampling=ALL) -> WorkTraces:
    return WorkTraces(Resource.create({"service.name": "tests"}), export_by(memory), sampling)


def by_name(memory) -> dict:
    return {span.name: span for span in memory.get_finished_spans()}


@pytest.fixture(autouse=True)
def _no_parent(monkeypatch):
    monkeypatch.delenv("TRACEPARENT", raising=False)


def test_a_runs_steps_and_trials_are_one_trace_below_the_commands(memory, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", CALLER)
    traces = opened(memory)
    progress = TracedProgress(Silent(), traces)
    with traced(traces, "run churn", {"divisions.pipeline": "churn"}) as span:
        span.set_attribute("divisions.run_id", "ab12")
        progress.step_started("Prepare the data of s3://raw/2026?key=planted")
        progress.step_finished("Prepare the data of s3://raw/2026?key=planted", 1.0, "20 rows")
        progress.step_started("Search, 2 trials")
        trials = TrialSpans(traces)
        for number in (1, 2):
            thread = threading.Thread(target=trials.began, args=[number])
            thread.start()
            thread.join()
        trials.ended(Trial(2, {}, TrialEnd.FAILED, reason="it diverged"))
        trials.ended(Trial(1, {}, TrialEnd.FINISHED, epochs=5, valid_loss=0.25))
        trials.ended(Trial(3, {}))
        progress.step_finished("Search, 2 trials", 1.0, "")
        progress.step_started("Start the rollout")
        sent = Peer("http://127.0.0.1:1", "t", None, 1.0).headers(Call("GET", "/", lambda reply: None))
        progress.step_finished("Start the rollout", 1.0, "")
    assert traces.close(60.0).exported == 6
    found = by_name(memory)
    assert sorted(found) == ["deploy", "prepare", "run churn", "search", "trial"]
    root, caller = found["run churn"], parent_of(CALLER)
    assert (root.context.trace_id, root.parent.span_id) == (caller.trace_id, caller.span_id)
    assert root.attributes["divisions.run_id"] == "ab12"
    for name in ("prepare", "search", "deploy"):
        assert found[name].parent.span_id == root.context.span_id
    ended = {span.attributes["divisions.trial"]: span for span in memory.get_finished_spans() if span.name == "trial"}
    assert {span.parent.span_id for span in ended.values()} == {found["search"].context.span_id}
    assert ended[1].attributes["divisions.valid_loss"] == 0.25
    assert not ended[2].status.is_ok
    assert ended[2].status.description == "it diverged"
    assert {span.context.trace_id for span in memory.get_finished_spans()} == {caller.trace_id}
    assert parent_of(sent["traceparent"]).span_id == found["deploy"].context.span_id, "the rollout is below its step"
    assert not [span for span in memory.get_finished_spans() if "planted" in span.to_json()]


def test_what_fails_says_so_once_without_secrets_and_the_error_goes_on(memory, caplog):
    traces = opened(memory)
    progress = TracedProgress(Silent(), traces)

    def run():
        with traced(traces, "run churn", {}):
            progress.step_started("Train")
            progress.step_failed("Train", 1.0)
            raise ValueError("no answer from http://ann:planted@host/x?key=planted")

    with pytest.raises(ValueError, match="planted"):
        run()
    traces.close(60.0)
    found = by_name(memory)
    assert found["run churn"].status.description == "ValueError: no answer from http://host/x"
    assert not found["train"].status.is_ok
    assert not caplog.messages, "the SDK warns of a span that is ended twice"
    assert not trace.get_current_span().get_span_context().is_valid, "no span stays the current one"


@pytest.mark.parametrize(
    ("sampling", "caller", "expected"),
    [
        (ALL, "", 1),
        (ALL, CALLER, 1),
        (ALL, CALLER[:-2] + "00", 0),
        (Sampling(follows_parent=False, bound=1 << 64), CALLER[:-2] + "00", 1),
        (Sampling(follows_parent=True, bound=0), "", 0),
        (Sampling(follows_parent=True, bound=0), CALLER, 1),
        (Sampling(follows_parent=True, bound=1), "", 1),
        (ALL, "nonsense", 1),
    ],
)
def test_the_sampler_holds_for_work_but_a_ratio_is_for_requests(memory, monkeypatch, sampling, caller, expected):
    monkeypatch.setenv("TRACEPARENT", caller)
    traces = opened(memory, sampling)
    with traced(traces, "run", {}):
        pass
    assert traces.takes(parent_of(caller)) == bool(expected)
    assert traces.close(60.0).exported == expected
    assert len(memory.get_finished_spans()) == expected


def test_a_collector_that_stands_still_is_not_waited_for_and_every_span_is_counted(memory):
    begun, may_end = threading.Event(), threading.Event()

    def export(spans):
        begun.set()
        may_end.wait(100)
        return ""

    traces = WorkTraces(Resource.create(), export, ALL)
    span = WorkSpan("s", 1, 2, 0, 1.0, 2.0)
    traces.take([span])
    begun.wait(100)
    for _ in range(work.MAX_WAITING + 5):
        traces.take([span])
    assert traces.counts().lost == 5
    counts = traces.close(0.0)
    may_end.set()
    assert (counts.exported, counts.lost, counts.fault) == (0, work.MAX_WAITING + 6, "it does not answer")


def test_off_or_without_the_extra_nothing_is_traced(monkeypatch, caplog):
    settings = load_settings()
    assert open_traces(settings, "tests") is None
    monkeypatch.setenv("DIVISIONS_TRACES", "1")
    monkeypatch.setattr(work.otlp, "is_installed", lambda: False)
    assert open_traces(load_settings(), "tests") is None
    assert "pip install 'divisions[traces]'" in caplog.text
    with traced(None, "run", {}) as span:
        assert span is None


def test_the_environments_parent_is_that_of_requests_and_a_malformed_one_is_none(monkeypatch):
    assert "traceparent" not in Peer("http://127.0.0.1:1", "t", None, 1.0).headers(Call("GET", "/", lambda it: None))
    monkeypatch.setenv("TRACEPARENT", CALLER)
    assert current_traceparent() == CALLER
    monkeypatch.setenv("TRACEPARENT", CALLER + "-more")
    assert current_traceparent() == ""
    assert "TRACEPARENT" in os.environ


def test_the_parent_is_written_as_it_was_read():
    for text in (CALLER, CALLER[:-2] + "00"):
        assert parent_of(text).text == text
    assert parent_of("01" + CALLER[2:] + "-new") == Parent(
        0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, is_sampled=True
    )
    for text in ("ff" + CALLER[2:], CALLER + "-new", "01" + CALLER[2:] + "x", CALLER.upper(), "", "x" * 10_000):
        assert parent_of(text) is None
