"""The page's pure modules, run in the browser that they are for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.browser import Browser

pytestmark = pytest.mark.e2e

NOW_S = 1_000_000.0
QUIET = {
    "rollouts": [{"endpoint": "churn", "phase": "PROMOTED"}],
    "replicas": [{"name": "a", "ready": True, "age_s": 9}],
}
POD = {"name": "a", "ready": False, "age_s": 9}


@pytest.fixture(scope="module")
def page(chromium, documents) -> Browser:
    from tests.e2e.page.scenes import empty

    documents.say(empty())
    chromium.open(documents.url)
    return chromium


def call(page: Browser, module: str, name: str, *arguments: Any) -> Any:
    script = "const [module, name, ...rest] = given; return (await import(`/page/${module}.js`))[name](...rest)"
    return page.run(script, module, name, *arguments)


def attention(page: Browser, status: dict[str, Any], house: dict[str, Any] | None = None) -> dict[str, Any]:
    return call(page, "attention", "attention", status, house or {}, NOW_S)


def rollout(phase: str, since_s: float = 0.0) -> dict[str, Any]:
    return {
        "endpoint": "churn", "phase": phase, "stable_version": "3.1", "canary_version": "3.2",
        "actual_weight_bp": 2_000, "phase_since_s": NOW_S - since_s, "message": "why", "rollback_reason": "",
        "explanation": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "mood", "title"),
    [
        ({"rollouts": [], "replicas": []}, "calm", "Nothing is deployed yet"),
        (QUIET, "good", "All is well"),
        (QUIET | {"rollouts": [rollout("STEP")]}, "busy", "All is well, and something is under way"),
        (QUIET | {"rollouts": [rollout("HOLD")]}, "warn", "One thing needs you"),
        (QUIET | {"rollouts": [rollout("HOLD"), rollout("ROLLED_BACK")]}, "bad", "2 things need you"),
        (QUIET | {"rollouts": [rollout("ROLLED_BACK", 90_000)]}, "good", "All is well"),
        (QUIET | {"rollouts": [rollout("PROMOTED", 60)]}, "good", "All is well"),
        (QUIET | {"journal_fault": "disk is full"}, "bad", "One thing needs you"),
        (QUIET | {"policy_fault": "team.rego is broken"}, "warn", "One thing needs you"),
        (QUIET | {"gateway": {"is_store_reachable": False}}, "warn", "One thing needs you"),
        (QUIET | {"inventory": {"unreachable": ["registry"]}}, "warn", "One thing needs you"),
        (QUIET | {"nodes": [{"hostname": "n", "state": "lost", "reason": ""}]}, "bad", "One thing needs you"),
        (QUIET | {"scales": [{"app_name": "a", "ready": 1, "wanted": 2, "lacks": "x"}]}, "warn", "One thing needs you"),
        (QUIET | {"replicas": [POD | {"status": "Starting"}]}, "good", "All is well"),
        (QUIET | {"replicas": [POD | {"status": "Failing"}]}, "bad", "One thing needs you"),
    ],
)  # fmt: skip
def test_the_sentence_at_the_top_is_about_the_most_urgent(page, status, mood, title):
    found = attention(page, status)
    assert (found["mood"], found["title"]) == (mood, title)


def test_the_list_is_short_and_the_most_urgent_come_first(page):
    nodes = [{"hostname": f"n{number}", "state": "alive", "gateways": 0, "wanted_gateways": 1} for number in range(8)]
    found = attention(page, QUIET | {"nodes": nodes, "rollouts": [rollout("ROLLED_BACK", 200)]})
    assert found["title"] == "9 things need you"
    assert found["items"][0] == {
        "mood": "bad",
        "text": "churn: 3.2 was rolled back 3m20s ago, 3.1 serves all traffic: why",
        "panel": "endpoints",
    }
    assert [each["mood"] for each in found["items"]] == ["bad", *["warn"] * 5, "calm"]
    assert found["items"][-1]["text"] == "and 3 more"


def test_a_new_version_is_news_for_an_hour(page):
    (item,) = attention(page, QUIET | {"rollouts": [rollout("PROMOTED", 720)]})["items"]
    assert (item["mood"], item["text"]) == ("good", "churn: 3.1 has served all traffic for 12m")
    assert attention(page, QUIET | {"rollouts": [rollout("PROMOTED", 3_700)]})["items"] == []


def test_marks_are_changes_of_the_weight(page):
    def mark(at_s, phase, weight_bp):
        return {"at_s": at_s, "phase": phase, "weight_bp": weight_bp, "message": ""}

    marks = [mark(1, "PENDING", 0), mark(2, "STEP", 2_000), mark(3, "HOLD", 2_000), mark(4, "ROLLING_BACK", 0)]
    curve = {"endpoint": "churn", "canary_version": "3.2", "marks": [*marks, mark(5, "ROLLED_BACK", 0)]}
    assert call(page, "panels/traffic", "changes", [curve]) == [
        {"atS": 2, "text": "3.2 20 %"},
        {"atS": 4, "text": "3.2 rolled back"},
    ]
    two = call(page, "panels/traffic", "changes", [curve, curve | {"endpoint": "fraud", "marks": marks[:2]}])
    assert two[-1] == {"atS": 2, "text": "fraud 3.2 20 %"}


def test_only_the_newest_deployment_of_an_endpoint_counts(page):
    failed = {
        "number": 2,
        "model": "m",
        "version": "1",
        "endpoint": "churn",
        "target": "local",
        "began_s": NOW_S - 9,
        "ending": "",
        "is_under_way": False,
        "steps": [{"error": "403"}],
    }
    later = failed | {"number": 3, "ending": "promoted", "steps": []}
    assert (
        attention(page, QUIET, {"deployments": {"deployments": [failed]}})["items"][0]["text"]
        == "Deployment #2 of m 1 to local failed: 403"
    )
    assert attention(page, QUIET, {"deployments": {"deployments": [later, failed]}})["title"] == "All is well"
    assert (
        attention(page, QUIET, {"deployments": {"deployments": None}, "pipelines": {"pipelines": None}})["title"]
        == "All is well"
    )


@pytest.mark.parametrize(
    ("values", "runs"),
    [
        ([], 0), ([1], 0), ([1, 2], 1), ([1, 1], 1), ([1, 2, None, 3, 4], 2), ([None, 1, 2], 1), ([1, None, 2], 0),
    ],
)  # fmt: skip
def test_a_line_has_gaps_where_nothing_is_known(page, values, runs):
    found = call(page, "pictures", "lines", values)
    assert len(found) == runs
    assert all("NaN" not in each for each in found)


def test_curves_share_their_epochs_and_losses_have_a_chart_of_their_own(page):
    assert call(page, "panels/runs", "joined", [[[1, 5], [2, 6]], [[2, 7], [3, 8]]]) == [
        [1, 2, 3],
        [5, 6, None],
        [None, 7, 8],
    ]
    curves = {name: [[1, 1], [2, 1]] for name in ("valid_auc", "train_loss", "valid_loss", "lr")} | {"once": [[1, 1]]}
    assert call(page, "panels/runs", "grouped", curves) == [["train_loss", "valid_loss"], ["valid_auc"]]


def test_the_set_weight_is_that_of_the_last_change(page):
    marks = [{"at_s": 2, "weight_bp": 2_000}, {"at_s": 4, "weight_bp": 5_000}]
    assert call(page, "rollout_charts", "setWeights", [1, 2, 3, 4, 9], marks) == [None, 20, 20, 50, 50]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("bytes", 0, "0 B"), ("bytes", 999, "999 B"), ("bytes", 1_500, "1.5 kB"), ("bytes", 142_000_000, "142 MB"),
        ("figure", 0.91234, "0.9123"), ("figure", 0, "0"), ("figure", 1e-9, "1.00e-9"), ("figure", None, "none"),
        ("partOf", 0.0001, "0.01 %"), ("partOf", 0.5, "50 %"), ("rate", None, "unknown"), ("rate", 412.3, "412"),
        ("rate", 0.05, "0.05"), ("spell", None, "unknown"), ("dateTime", 0, "1970-01-01 00:00:00"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(page, name, value, text):
    assert call(page, "format", name, value) == text


def test_versions_are_compared_line_by_line(page):
    one = {
        "model": "m",
        "stage": "Production",
        "framework": "",
        "size_bytes": None,
        "created_at_s": 5,
        "run_id": "a",
        "metrics": {"auc": 0.9},
    }
    two = one | {"metrics": {"auc": 0.91, "f1": 0.5}}
    lines = {each["name"]: each for each in call(page, "compare", "comparison", one, two)}
    assert lines["auc"] == {"name": "auc", "first": 0.9, "second": 0.91, "change": 0.01, "isSame": False}
    assert (lines["f1"]["first"], lines["f1"]["change"]) == (None, None)
    assert lines["Stage"]["isSame"]
    assert lines["Framework"]["first"] is None
