"""Rollouts as metrics and as events: what happened, and why, for machines."""

import json

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from divisions.control import RolloutCommand
from divisions.errors import NotRunningError
from router.control.event_log import MAX_BYTES, EventFile
from router.gateway import rollout_metrics
from router.rollouts.messages import RolloutEvent
from tests.router import gateway_world
from tests.router.rollout_world import ANALYSIS, World, spec


def samples(text):
    return {
        (sample.name, *[value for _, value in sorted(sample.labels.items())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def cluster(tmp_path):
    it = World(tmp_path)
    it.deploy_first()
    return it


def measured(cluster):
    return samples(rollout_metrics.render(cluster.controller.status()).decode())


def test_a_running_rollout_shows_weight_phase_and_evidence(cluster):
    cluster.controller.start_rollout(spec("3.2", analysis=msgspec.structs.replace(ANALYSIS, min_dwell_s=30)))
    cluster.until("STEP")
    cluster.seconds(5)
    found = measured(cluster)
    assert found["divisions_rollout_weight_ratio", "churn"] == 0.2
    assert found["divisions_rollout_phase", "churn", "STEP"] == 1.0
    assert found["divisions_rollout_phase", "churn", "HOLD"] == 0.0
    assert found["divisions_rollout_log_threshold", "churn", "latency"] == pytest.approx(4.605, abs=0.001)
    assert found["divisions_rollout_log_evidence", "churn", "errors"] < 1.0
    assert found["divisions_rollout_needs_operator", "churn"] == 0.0
    assert found["divisions_rollout_min_detectable_ratio", "churn"] > 1.0


def test_a_rollback_is_counted_by_its_guard_and_explained(cluster):
    cluster.latency_s["3.2"] = 0.02
    cluster.controller.start_rollout(spec("3.2"))
    cluster.until("ROLLED_BACK")
    found = measured(cluster)
    assert found["divisions_rollbacks_total", "churn", "latency"] == 1.0
    why = cluster.status().explanation
    assert found["divisions_rollout_explanation", "churn", "latency", "canary_exceeded"] == why.canary_exceeded
    cluster.restart_controller()
    cluster.seconds(5)
    assert measured(cluster)["divisions_rollbacks_total", "churn", "latency"] == 1.0, "it is the journal that counts"
    cluster.controller.start_rollout(spec("3.3"))
    cluster.until("STEP")
    cluster.controller.command(RolloutCommand("churn", "abort"))
    assert measured(cluster)["divisions_rollbacks_total", "churn", "operator"] == 1.0


def test_a_rollout_that_waits_for_somebody_is_an_alert(cluster):
    cluster.controller.start_rollout(spec("3.2"))
    cluster.until("STEP")
    cluster.rps = 1
    cluster.until("HOLD", at_most_s=150)
    assert measured(cluster)["divisions_rollout_needs_operator", "churn"] == 1.0


def test_a_journal_that_cannot_be_written_is_an_alert_with_what_waits_for_it(cluster):
    cluster.controller.start_rollout(spec("3.2"))
    cluster.until("STEP")
    found = measured(cluster)
    assert (found["divisions_journal_unavailable",], found["divisions_journal_unwritten",]) == (0.0, 0.0)
    cluster.is_disk_full = True
    cluster.controller.command(RolloutCommand("churn", "abort"))
    found = measured(cluster)
    assert (found["divisions_journal_unavailable",], found["divisions_journal_unwritten",]) == (1.0, 1.0)


def test_a_gateway_answers_the_controllers_metrics_with_its_own(run, cluster):
    cluster.controller.start_rollout(spec("3.2"))
    cluster.until("STEP")

    async def status():
        return msgspec.json.encode(cluster.controller.status())

    async def away():
        raise NotRunningError("the controller is away")

    async def scenario():
        texts = []
        for answer in (status, away):
            async with gateway_world.world() as it:
                it.link.status = answer
                (reply,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert reply.status == 200
                texts.append(reply.body.decode())
        return texts

    with_controller, without = run(scenario())
    assert samples(with_controller)["divisions_rollout_weight_ratio", "churn"] == 0.2
    for text in (with_controller, without):
        assert "divisions_controller_silent_seconds" in text
    assert "divisions_rollout_" not in without


def test_every_transition_is_an_event_with_its_reason(tmp_path):
    cluster = World(tmp_path)
    cluster.deploy_first()
    cluster.latency_s["3.2"] = 0.02
    cluster.controller.start_rollout(spec("3.2"))
    cluster.until("ROLLED_BACK")
    events = [event for event in cluster.events.events if event.canary_version == "3.2"]
    assert [event.kind for event in events] == [
        "CREATED",
        "STARTED",
        "STEP_INTENT",
        "ROLLBACK_INTENT",
        "ROLLBACK_APPLIED",
        "DRAINED",
    ]
    assert [event.weight_bp for event in events] == [0, 0, 2_000, 0, 0, 0]
    assert events[3].explanation.guard == "latency"
    assert {event.stable_version for event in events} == {"3.1"}


EVENT = RolloutEvent(1.0, "churn", "CREATED", 1, 2, "PENDING", 0, None, "3.1", "3.1 created")


def test_events_are_lines_of_json_and_the_file_does_not_grow_for_ever(tmp_path):
    path = tmp_path / "logs" / "rollouts.jsonl"
    file = EventFile(path)
    file.emit(EVENT)
    file.emit(EVENT)
    lines = path.read_text().splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["3.1 created"] * 2
    with path.open("ab") as grown:
        grown.truncate(MAX_BYTES)
    file.emit(EVENT)
    assert len(path.read_text().splitlines()) == 1
    assert path.with_suffix(".1.jsonl").stat().st_size == MAX_BYTES


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "logs").write_text("not a folder")
    EventFile(tmp_path / "logs" / "rollouts.jsonl").emit(EVENT)
    assert (tmp_path / "logs").read_text() == "not a folder"
