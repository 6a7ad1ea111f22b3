import msgspec
import pytest

from benchmarks.canaries.rollback import zero_weight_at_s
from benchmarks.demo.demo import write_pipeline
from benchmarks.demo.demo_result import DemoReport, broken_promises, render_summary
from benchmarks.harness.machine import Machine
from benchmarks.load.report import Lag, Latency, LoadResult, VersionResult
from divisions.analysis_spec import AnalysisSpec
from divisions.pipeline.file import load_pipeline
from divisions.status import HistoryEntry
from tests.builders import rollout_status


def load_result(**changes):
    latency = Latency(1000, 2.0, 1.5, 3.0, 4.0, 6.0, 8.0, 9.0)
    result = LoadResult(
        url="http://127.0.0.1:8000/api/v2/predict/churn",
        arrivals="poisson",
        rate_rps=200.0,
        seed=0,
        deadline_ms=2000.0,
        started_at_s=100.0,
        duration_s=5.0,
        requests=1000,
        ok=1000,
        refused=0,
        failed=0,
        timed_out=0,
        achieved_rps=200.0,
        latency=latency,
        versions={"3.2": VersionResult(900, latency, 100.0, 105.0, 100.0, 105.0)},
        reasons={},
        lag=Lag(0.1, 0.5, 2.0),
        generator_saturated=False,
        generator_cpu_share=0.05,
        connections=8,
        connects=8,
        machine=Machine("cpu", 2, "Linux", "3.11", {}, 0.1),
    )
    return msgspec.structs.replace(result, **changes)


def report(**changes):
    kept = DemoReport(
        auc=0.91,
        promoted_version="3.2",
        rolled_back_version="3.3",
        rollback_reason="latency",
        time_to_rollback_s=9.5,
        requests=1000,
        failed_requests=0,
        wall_s=200.0,
        decision_after_s=9.0,
        slow_requests=100,
        holdout_rows=1000,
        load=load_result(),
    )
    return msgspec.structs.replace(kept, **changes)


def test_a_demo_that_kept_its_promises_has_none_to_report():
    assert broken_promises(report(), "3.2", "3.3") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auc": 0.87}, "AUC"),
        ({"auc": float("nan")}, "AUC"),
        ({"failed_requests": 1, "load": load_result(reasons={"status 500": 1})}, "1 x status 500"),
        ({"promoted_version": "3.1"}, "3.2 should serve"),
        ({"rolled_back_version": ""}, "3.3 should have been rolled back"),
        ({"time_to_rollback_s": 30.1}, "rollback took 30.1 s"),
        ({"wall_s": 481.0}, "took 481 s"),
    ],
)
def test_each_broken_promise_is_named(changes, words):
    (broken,) = broken_promises(report(**changes), "3.2", "3.3")
    assert words in broken


def status(*history):
    return rollout_status(
        phase="ROLLED_BACK",
        epoch=9,
        set_weight_bp=0,
        actual_weight_bp=0,
        stable_version="3.2",
        canary_version="3.3",
        rollback_reason="latency",
        history=tuple(HistoryEntry(at_s, phase, weight_bp, "") for at_s, phase, weight_bp in history),
    )


def test_the_rollback_is_over_when_the_weight_falls_not_while_the_version_still_warms():
    entries = [(10.0, "WARMING", 0), (20.0, "STEP", 2000), (26.0, "STEP", 5000), (29.5, "ROLLING_BACK", 0)]
    assert zero_weight_at_s(status(*entries, (35.0, "ROLLED_BACK", 0))) == 29.5


def test_a_rollout_whose_weight_never_fell_is_an_error():
    with pytest.raises(ValueError, match=r"3\.3"):
        zero_weight_at_s(status((10.0, "WARMING", 0), (20.0, "STEP", 2000)))


def test_the_summary_has_a_line_per_version_even_for_one_that_never_answered():
    text = render_summary(report(), [("3.2", "promoted"), ("3.9", "never seen")])
    lines = text.splitlines()
    assert "900" in lines[1]
    assert lines[2].split()[:2] == ["v3.9", "-"]


def test_the_demo_runs_the_product_pages_pipeline_with_only_the_analysis_shortened(tmp_path):
    write_pipeline(tmp_path / "p.yaml")
    pipeline = load_pipeline(tmp_path / "p.yaml")
    assert pipeline.name == "customer-churn-v3"
    assert pipeline.deployment.steps_bp == (2_000, 5_000, 10_000)
    analysis, usual = pipeline.deployment.analysis, AnalysisSpec()
    assert (analysis.alpha, analysis.guards) == (usual.alpha, usual.guards)
    assert (analysis.tolerance, analysis.tolerance_ms) == (usual.tolerance, usual.tolerance_ms)
    assert analysis.min_dwell_s < usual.min_dwell_s
