"""Every alert fires when it should and not otherwise, as Prometheus' own `promtool test rules` sees it."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.prometheus import rules
from deploy.prometheus.documents import configuration, rule_file
from deploy.prometheus.slo_rules import limit_s
from divisions.errors import UsageError
from divisions.pipeline.definition import Slo
from divisions.pipeline.file import parse_pipeline
from router.gateway.telemetry import BUCKETS_S

ROOT = Path(__file__).parents[3]
PIPELINE = """
pipeline: churn-v3
stages:
  data_prep:
    input: events
  deployment:
    endpoint: /api/v2/predict/churn
slo:
  availability: 99.9%
  latency_ms: 24
"""
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; see `make servers`"
)

ON = "endpoint='churn',version='3.1'"
CASES = {
    "RolloutNeedsOperator": (["divisions_rollout_needs_operator{endpoint='churn'} 0x9 1x10"], 9, 15),
    "RolledBack": (["divisions_rollbacks_total{endpoint='churn',guard='latency'} 0x9 1x10"], 9, 12),
    "NoReadyReplicas": (
        [f"divisions_ready_replicas{{{ON}}} 2x9 0x10", f"divisions_weight_ratio{{{ON}}} 1x20"],
        9,
        15,
    ),
    "RequestsRefused": (
        [
            f"divisions_requests_total{{{ON},code='2xx'}} 0+600x30",
            "divisions_refused_total{endpoint='churn',status='503',code='OverloadedError'} 0x9 0+60x20",
        ],
        9,
        25,
    ),
    "StoredFeaturesDoNotFit": (
        ["divisions_refused_total{endpoint='churn',status='500',code='StoredFeaturesError'} 0x9 0+1x10"],
        9,
        15,
    ),
    "OnlineStoreUnreachable": (["divisions_online_store_reachable{instance='a:1'} 1x9 0x10"], 9, 15),
    "Drift": (["divisions_drift_alert{endpoint='churn',feature='age',window='1h',against='training'} 0x9 1x10"], 9, 15),
    "PredictionLogLosesRows": (
        [
            f"divisions_prediction_log_lost_rows_total{{{ON},reason='{why}'}} {values}"
            for why, values in (("disk", "0x9 0+100x10"), ("place", "0x20"))
        ],
        9,
        12,
    ),
    "PredictionLogStuck": (["divisions_prediction_log_reachable{instance='a:1'} 1x9 0x30"], 20, 30),
    "CertificateEnds": (
        ["divisions_port_certificate_expiry_timestamp_seconds{instance='a:1'} 259800x30"],  # three days and 10 minutes
        9,
        25,
    ),
    "CertificateRefused": (["divisions_port_certificate_refused{instance='a:1'} 0x9 1x10"], 9, 16),
    "JournalUnavailable": (["divisions_journal_unavailable 0x9 1x10"], 9, 15),
    "DependencyUnreachable": (["divisions_dependency_reachable{dependency='registry'} 1x9 0x20"], 12, 20),
    "ControllerSilent": (["divisions_controller_silent_seconds{gateway='0'} 1x9 10+60x10"], 9, 15),
    "ControllerRestarts": (["divisions_controller_restarts_total 0x9 0+1x10"], 9, 18),
    "GatewayDown": (["up{job='divisions',instance='a:1'} 1x9 0x10"], 9, 15),
    "GatewayHangs": (["divisions_gateway_answered{gateway='1',instance='a:1'} 1x9 0x10"], 9, 15),
    "TablesDiffer": (["divisions_table_epoch{gateway='0'} 7x20", "divisions_table_epoch{gateway='1'} 7x9 6x10"], 9, 15),
    "PipelineFailed": (["divisions_pipeline_last_failed{pipeline='p'} 0x9 1x10"], 9, 12),
    "ScheduleLate": (["divisions_schedule_lag_seconds{pipeline='p'} 0x9 0+60x60"], 30, 60),
}
"""By alert: series by the minute, a minute at which it does not fire, and one at which it does."""


@dataclasses.dataclass
class Question:
    """Which alerts fire at ``minute``, if the series have such values every ``step`` minutes?"""

    series: list[str]
    minute: int
    step: int = 1


def firing(folder: Path, rule_text: str, questions: list[Question]) -> list[set[tuple[str, str]]]:
    """Name and severity of the alerts that fire, for each question. They are asked at once: promtool starts slowly."""
    (folder / "rules.yml").write_text(rule_text)
    for step in sorted({question.step for question in questions}):
        tests = [_test(question) for question in questions if question.step == step]
        content = {"rule_files": ["rules.yml"], "evaluation_interval": f"{step}m", "tests": tests}
        (folder / f"test-{step}.yml").write_text(yaml.safe_dump(content))
    answers: dict[int, list[set[tuple[str, str]]]] = {}
    for file in folder.glob("test-*.yml"):
        told = subprocess.run(
            ["promtool", "test", "rules", file.name], cwd=folder, capture_output=True, text=True, check=False
        )
        blocks = re.split(r"expr: .*?, time: ", told.stdout + told.stderr)[1:]
        alert = re.compile(r'alertname=\\?"(\w+)\\?".*?severity=\\?"(\w+)\\?"')
        answers[int(file.stem.partition("-")[2])] = [set(alert.findall(block.partition("got:")[2])) for block in blocks]
    assert sum(map(len, answers.values())) == len(questions), "promtool has answered every question"
    return [answers[question.step].pop(0) for question in questions]


def _test(question: Question) -> dict:
    """Its expected answer is one that no alert gives: so promtool prints what it got."""
    given = [
        dict(zip(("series", "values"), one.replace("'", '"').split(" ", 1), strict=True)) for one in question.series
    ]
    asked = {
        "expr": 'ALERTS{alertstate="firing"}',
        "eval_time": f"{question.minute}m",
        "exp_samples": [{"labels": "nothing", "value": 42}],
    }
    return {"interval": f"{question.step}m", "input_series": given, "promql_expr_test": [asked]}


@needs_promtool
def test_an_alert_fires_when_it_should_and_not_before(tmp_path):
    severities = {alert.name: alert.severity for alert in rules.ALERTS}
    before = firing(tmp_path, rule_file(), [Question(series, minute) for series, minute, _ in CASES.values()])
    assert dict(zip(CASES, before, strict=True)) == {name: set() for name in CASES}
    after = firing(tmp_path, rule_file(), [Question(series, minute) for series, _, minute in CASES.values()])
    assert dict(zip(CASES, after, strict=True)) == {name: {(name, severities[name])} for name in CASES}


RARE = {
    "RolledBack": "divisions_rollbacks_total{endpoint='churn',guard='latency'}",
    "StoredFeaturesDoNotFit": "divisions_refused_total{endpoint='churn',status='500',code='StoredFeaturesError'}",
    "PredictionLogLosesRows": f"divisions_prediction_log_lost_rows_total{{{ON},reason='writer'}}",
}
"""Counters that begin with their first value."""


@needs_promtool
def test_the_first_of_what_is_rare_is_told_and_nothing_old_is_told_again(tmp_path):
    scraped = "divisions_build_info{gateway='0'} 1x60"
    first = [Question([f"{series} _x19 1x40", scraped], 21) for series in RARE.values()]
    told = [{(name, "ticket")} for name in RARE]
    assert firing(tmp_path, rule_file(), first) == told
    over = [Question([f"{series} _x19 1x40", scraped], 35) for series in RARE.values()]
    new_prometheus = [Question([f"{series} 2x20", scraped], 3) for series in RARE.values()]
    after_a_gap = [
        Question([f"{series} 2x9 stale _x1 2x40", scraped], minute)
        for series in RARE.values()
        for minute in (14, 15, 20, 21)
    ]
    quiet = [*over, *new_prometheus, *after_a_gap]
    assert firing(tmp_path, rule_file(), quiet) == [set()] * len(quiet)


def test_every_alert_has_a_case_and_a_runbook():
    slo = {"ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"}
    names = {alert.name for alert in rules.ALERTS}
    assert set(CASES) == names
    text = (ROOT / rules.RUNBOOKS).read_text()
    assert set(re.findall("^## (.+)$", text, re.MULTILINE)) == names | slo
    for rule in [
        rule for group in yaml.safe_load(rule_file([parse_pipeline(PIPELINE)]))["groups"] for rule in group["rules"]
    ]:
        if "alert" in rule:
            assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
            assert rule["labels"]["severity"] in {rules.PAGE, rules.TICKET}


def requests(failing: str, minute: int, step: int = 1) -> Question:
    """600 requests a minute are answered, and so many fail as ``failing`` counts."""
    answered = f"divisions_requests_total{{{ON},code='2xx'}} 0+{600 * step}x{minute // step + 2}"
    return Question(
        [answered, f"divisions_refused_total{{endpoint='churn',status='502',code='X'}} {failing}"], minute, step
    )


FAST, SLOW = ("ErrorBudgetBurnsFast", "page"), ("ErrorBudgetBurnsSlowly", "ticket")
BURNING = {
    "none fails": (requests("0x180", 180), set()),
    "2.1 % fail, 21 times too many": (requests("0+13x180", 180), {FAST, SLOW}),
    "a bad moment in a good day": (requests("0x288 120x6", 1_450, step=5), set()),
    "it was bad, and is over": (requests("0+13x120 1560x60", 150), {SLOW}),
    "6.6 times too many for 6 hours": (requests("0+20x90", 400, step=5), {FAST, SLOW}),
    "1.7 times too many for 3 days": (requests("0+30x160", 4_500, step=30), {SLOW}),
    "within the budget": (requests("0+15x160", 4_500, step=30), set()),
    "callers' own errors, and another endpoint's": (
        Question(
            [
                f"divisions_requests_total{{{ON},code='2xx'}} 0+600x180",
                "divisions_refused_total{endpoint='churn',status='400',code='X'} 0+600x180",
                "divisions_refused_total{endpoint='other',status='500',code='X'} 0+600x180",
            ],
            180,
        ),
        set(),
    ),
}


def answers(fast: int) -> Question:
    """600 a minute, ``fast`` of them within 25 ms."""
    return Question(
        [
            f"divisions_request_seconds_bucket{{{ON},le='0.025'}} 0+{fast}x180",
            f"divisions_request_seconds_bucket{{{ON},le='+Inf'}} 0+600x180",
            f"divisions_request_seconds_count{{{ON}}} 0+600x180",
        ],
        180,
    )


@needs_promtool
def test_a_budget_that_burns_too_fast_wakes_somebody(tmp_path):
    slow = {
        "all fast": (answers(600), set()),
        "1 in 200": (answers(597), set()),
        "1 in 5": (answers(480), {FAST, SLOW}),
    }
    cases = BURNING | slow
    found = firing(tmp_path, rule_file([parse_pipeline(PIPELINE)]), [question for question, _ in cases.values()])
    told = {
        name: {one for one in fires if one[0].startswith("Error")} for name, fires in zip(cases, found, strict=True)
    }
    assert told == {name: expected for name, (_, expected) in cases.items()}


@needs_promtool
def test_a_modest_promise_can_be_broken_too(tmp_path):
    text = rule_file([parse_pipeline(PIPELINE.replace("99.9%", "80%"))])
    (found,) = firing(
        tmp_path, text, [Question(["divisions_refused_total{endpoint='churn',status='502',code='X'} 0+600x180"], 180)]
    )
    assert FAST in found


def test_a_latency_is_counted_by_the_bucket_that_holds_it():
    assert [limit_s(Slo(latency_ms=ms)) for ms in (0.05, 0.051, 24, 25, 5_000)] == [5e-05, 1e-04, 0.025, 0.025, 5.0]
    edges = re.findall(r'le="([^"]+)"', rule_file([parse_pipeline(PIPELINE)]))
    assert set(edges) <= {str(edge) for edge in BUCKETS_S}, "as gateways write them"


def test_two_promises_for_an_endpoint_are_refused():
    one = parse_pipeline(PIPELINE)
    with pytest.raises(UsageError, match="churn-v3 and churn-v3 both have an SLO for churn"):
        rule_file([one, one])


@needs_promtool
def test_promtool_accepts_rules_and_configuration(tmp_path):
    (tmp_path / "rules.yml").write_text(rule_file([parse_pipeline(PIPELINE)]))
    (tmp_path / "prometheus.yml").write_text(configuration(str(tmp_path / "*.json")))
    for what, file in (("rules", "rules.yml"), ("config", "prometheus.yml")):
        found = subprocess.run(
            ["promtool", "check", what, file], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stdout + found.stderr


def test_the_examples_are_what_the_commands_print():
    header, _, text = (ROOT / "examples" / "alerts.yml").read_text().partition("\n")
    assert header.startswith("#")
    assert text == rule_file()
    example = yaml.safe_load((ROOT / "examples" / "prometheus.yml").read_text())
    files = example["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert example == yaml.safe_load(configuration(files[0], ["alerts.yml"]))


def test_rules_name_metrics_and_labels_that_exist():
    text = (ROOT / "docs" / "metrics.md").read_text()
    documented = dict(re.findall(r"^\| `(divisions_\w+)` \| ?([\w, ]*) \|", text, re.M))
    recorded = set(re.findall(r"`(divisions:[^`]+)`", text))
    assert set(rules.RECORDS) <= recorded
    for alert in rules.ALERTS:
        metrics = set(re.findall(r"divisions_\w+", alert.expr))
        assert metrics <= set(documented), alert.name
        assert metrics or alert.expr.startswith("up{"), alert.name
        labels = {label for metric in metrics for label in re.findall(r"\w+", documented[metric])}
        assert set(re.findall(r"\$labels\.(\w+)", alert.summary)) <= labels | {"instance", "gateway"}, alert.name
    for expr in rules.RECORDS.values():
        assert set(re.findall(r"divisions_(\w+?)(?:_bucket)?\[", expr)) <= {
            name.removeprefix("divisions_") for name in documented
        }
