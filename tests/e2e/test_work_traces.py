"""One trace from a command over its training to the rollout, at a real collector: all but Ray and replicas is real."""

from __future__ import annotations

import datetime as dt

import pytest

from divisions.errors import DivisionsError
from divisions.settings import load_settings
from router.control.rollout_traces import rollout_traces_of
from tests.router.gateway.api_world import TOKEN, Control, served_api
from tests.router.traces.collector import attributes, collector
from tests.trainers.churn import raw_frame
from tests.trainers.place import RecordingProgress
from trainers.start import StartOptions, start

pytestmark = pytest.mark.e2e

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PIPELINE = """\
pipeline: customer-churn-v3
features: {label: churn}
stages:
  data_prep: {input: "%s"}
  training: {trials: 2, hyperparams: {epochs: 3, learning_rate: 0.01}}
  deployment: {endpoint: /api/v2/predict/risk}
"""


class Ending(Control):
    """Its rollouts end at once, and are traced by this process's settings."""

    def __init__(self, folder):
        super().__init__(folder)
        self._world.controller._driver.over = rollout_traces_of(load_settings()).over

    async def start_rollout(self, spec_json, force, actor):
        answer = await super().start_rollout(spec_json, force, actor)
        self._world.seconds(30)
        assert self._world.controller.records["risk"].rollout.state
        return answer


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text(TOKEN)
    monkeypatch.setenv("DIVISIONS_HOME", str(home))
    monkeypatch.setenv("DIVISIONS_TRACES", "1")
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME", "TRACEPARENT"):
        monkeypatch.delenv(name, raising=False)
    raw = tmp_path / "raw"
    raw.mkdir()
    raw_frame().to_parquet(raw / "events.parquet")
    (tmp_path / "churn.yaml").write_text(PIPELINE % raw)
    return home


def run(home, progress, url=""):
    options = StartOptions(
        home.parent / "churn.yaml", today=dt.date(2025, 1, 13), uses_ray=False, gateway_url=url, is_deployed=bool(url)
    )
    return start(options, load_settings(), progress)


def test_a_command_its_training_and_its_rollout_are_one_trace(home, tmp_path, monkeypatch):
    with collector() as target:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", target.url)
        monkeypatch.setenv("TRACEPARENT", CALLER)
        with served_api(tmp_path, make_control=Ending) as url:
            outcome = run(home, RecordingProgress(), url)
        spans = {}
        while "rollout risk" not in spans or "run customer-churn-v3" not in spans:
            target.until(len(spans) + 1)
            spans = {span.name: span for span in target.spans}
    root, rollout = spans["run customer-churn-v3"], spans["rollout risk"]
    assert {span.trace_id.hex() for span in spans.values()} == {CALLER.split("-")[1]}
    assert root.parent_span_id.hex() == CALLER.split("-")[2]
    for name in ("prepare", "search", "train", "validate", "register", "deploy"):
        assert spans[name].parent_span_id == root.span_id, name
    assert spans["trial"].parent_span_id == spans["search"].span_id
    assert rollout.parent_span_id == spans["deploy"].span_id
    assert spans["load replicas"].parent_span_id == rollout.span_id
    assert attributes(root)["divisions.run_id"] == attributes(rollout)["divisions.run_id"] == outcome.run_id
    assert attributes(rollout)["divisions.outcome"] == "PROMOTED"


def test_a_run_without_a_collector_is_the_same_and_says_what_is_lost(home, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    (home.parent / "raw" / "events.parquet").write_bytes(b"no parquet")
    progress = RecordingProgress()
    with pytest.raises(DivisionsError) as refused:
        run(home, progress)
    assert [notice for notice in progress.notices if "spans of the run's trace are lost" in notice], refused.value
