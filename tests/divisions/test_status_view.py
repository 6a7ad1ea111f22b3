"""The table of replicas and rollouts on a terminal."""

import pytest

from divisions.commands.status import render_status
from divisions.drift import DriftAlert, DriftSummary
from divisions.prediction_log import LogCount
from divisions.scaling import Scaling, VersionScale
from divisions.sdk.client import ServiceStatus
from divisions.status import NodeStatus
from tests.builders import rollout_status


def line_of(stable: str | None, canary: str | None, weight_bp: int) -> list[str]:
    rollout = rollout_status(
        steps_bp=(10_000,),
        set_weight_bp=weight_bp,
        actual_weight_bp=weight_bp,
        stable_version=stable,
        canary_version=canary,
    )
    status = ServiceStatus(epoch=1, replicas=(), rollouts=(rollout,))
    return render_status(status).splitlines()[-1].split()[3:]


def test_a_journal_that_cannot_be_written_is_told():
    fault = "the journal cannot be written: database or disk is full (since 2026-01-01 00:00:00 UTC)"
    lines = render_status(ServiceStatus(epoch=1, journal_fault=fault)).splitlines()
    assert lines[-2:] == [f"Journal: {fault}", "No weight can rise until it can be written again."]
    assert "Journal" not in render_status(ServiceStatus(epoch=1))


def test_a_policy_that_cannot_be_used_is_told():
    fault = "team.rego:3: nothing defines blockd"
    lines = render_status(ServiceStatus(epoch=1, policy_fault=fault)).splitlines()
    assert lines[-2:] == [f"Policy: {fault}", "`divisions policy check` says what to correct."]


def test_a_drift_that_goes_on_is_told_with_its_index_and_what_it_may_be():
    alerts = (DriftAlert("age", "1h", "training", 0.314, 0.1, 5.0), DriftAlert("", "24h", "usual", 0.02, 0.005, 6.0))
    quiet = DriftSummary("fraud", "1", "watching", 3, ())
    status = ServiceStatus(epoch=1, drift=(DriftSummary("churn", "3.1", "watching", 2, alerts), quiet))
    head, first, second = render_status(status).splitlines()[-3:]
    assert head.split() == ["ENDPOINT", "VERSION", "DRIFT"]
    assert first.split(maxsplit=2)[:2] == ["churn", "3.1"]
    assert "drift of feature 'age': the last hour has an index of 0.314 against the training data; up to 0.1" in first
    assert "drift of the predictions: the last day has an index of 0.020 against the same hours of the first" in second
    assert "DRIFT" not in render_status(ServiceStatus(epoch=1, drift=(quiet,)))


def test_rows_of_the_prediction_log_are_told_with_what_was_lost_and_why():
    counts = (LogCount("churn", "3.1", 12_000), LogCount("churn", "3.2", 5, {"buffer": 1_000, "disk": 234}))
    head, first, second = render_status(ServiceStatus(epoch=1, logged=counts)).splitlines()[-3:]
    assert head.split() == ["ENDPOINT", "VERSION", "ROWS", "LOGGED", "LOST"]
    assert first.split() == ["churn", "3.1", "12,000", "0"]
    assert second.split(maxsplit=3) == ["churn", "3.2", "5", "1,234 (buffer 1,000, disk 234)"]
    assert "LOST" not in render_status(ServiceStatus(epoch=1))


@pytest.mark.parametrize(
    ("stable", "canary", "weight_bp", "shown"),
    [
        ("3.1", "3.2", 2_000, ["3.1", "3.2", "20%"]),
        (None, "3.1", 0, ["<none>", "3.1", "0%"]),
        ("3.2", "3.2", 10_000, ["3.2", "<none>", "-"]),
        ("3.2", None, 0, ["3.2", "<none>", "-"]),
    ],
)
def test_a_promoted_version_is_no_longer_a_canary(stable, canary, weight_bp, shown):
    assert line_of(stable, canary, weight_bp) == shown


def test_versions_that_follow_the_load_or_lack_room_have_a_row_with_the_reason():
    scales = (
        VersionScale("m-v1", "churn", "1", "stable", 3, 4, Scaling(2, 9), 0.523, "400 rows/s need 4"),
        VersionScale("m-v2", "churn", "2", "canary", 1, 2, lacks="the cluster has room for 0 of 1 more replicas"),
        VersionScale("m-v3", "", "3", "warm", 2, 2),
    )
    lines = render_status(ServiceStatus(epoch=1, scales=scales)).splitlines()
    assert [" ".join(line.split()) for line in lines[-3:]] == [
        "VERSION REPLICAS LIMITS IN USE WHY",
        "m-v1 3/4 2 to 9 52% 400 rows/s need 4",
        "m-v2 1/2 - - the cluster has room for 0 of 1 more replicas",
    ]
    assert "REPLICAS" not in render_status(ServiceStatus(epoch=1, scales=scales[2:]))


def test_nodes_are_shown_where_there_are_several_or_one_has_a_reason():
    head = NodeStatus("a" * 56, "10.0.0.1", "one", "alive", "http://10.0.0.1:8000", 1, 1, 2, True)
    worker = NodeStatus("b" * 56, "10.0.0.2", "two", "refused", reason="has another version")
    assert "10.0.0.1" not in render_status(ServiceStatus(epoch=1, nodes=(head,)))
    lines = render_status(ServiceStatus(epoch=1, nodes=(head, worker))).splitlines()
    assert lines[-3].split() == ["a" * 12, "one", "10.0.0.1", "alive", "1/1", "http://10.0.0.1:8000", "2", "yes"]
    assert lines[-2].split() == ["b" * 12, "two", "10.0.0.2", "refused", "-", "<none>", "0", "-"]
    assert lines[-1] == "10.0.0.2: has another version"
