"""The six stages: how far the newest run has come, and what serves. Unknown is neither good nor bad."""

from __future__ import annotations

import msgspec
import pytest

from divisions.house import LiveMetrics, RolloutLine
from divisions.house_rows import RunRow, Runs, RunVersion
from router.house.run_steps import RunStep
from router.house.stages import TITLES, stages

RUN = RunRow(
    "ab" * 16, "churn 2026-11-27", "churn", "RUNNING", 100.0, 0.0, "AdamW", "cosine", 50, "s3://raw", None, "",
    {}, (), (),
)  # fmt: skip
LINE = RolloutLine(
    "churn", "churn-predictor", "STEP", 7, 0, (2_000, 10_000), 2_000, 2_000, "3.1", "3.2", "step 1/2", "", 90.0, 95.0
)
QUIET = LiveMetrics(at_s=200.0, window_s=60, requests_per_s=10.0)


def states(run: RunRow | None, steps=(), lines=(), live=QUIET, unreachable=()) -> dict[str, str]:
    runs = Runs((run,) if run is not None else ())
    found = stages(runs, steps, lines, live, unreachable).stages
    assert [each.id for each in found] == list(TITLES)
    return {each.id: each.state for each in found}


def of_run(*arguments, **options) -> list[str]:
    return list(states(*arguments, **options).values())[:4]


def test_a_new_house_is_idle_and_one_that_cannot_be_read_is_unknown():
    assert states(None) == dict.fromkeys(TITLES, "idle")
    found = stages(Runs(), (), (), QUIET, ()).stages
    assert [each.state for each in found] == ["unknown"] * 4 + ["idle", "idle"]


def test_a_bundle_that_was_registered_again_is_no_run_through_the_stages():
    again = msgspec.structs.replace(RUN, run_id="cd" * 16, status="FINISHED", registered_from="3.1")
    found = stages(Runs((again, RUN)), (), (), QUIET, ())
    assert found.latest is not None
    assert found.latest.run_id == RUN.run_id
    assert found.stages[0].state == "running"
    assert stages(Runs((again,)), (), (), QUIET, ()).latest is None


PREPARED = RunStep("Prepare the data of s3://raw", 100.0, 110.0, False, "20 rows")
TRAINING = RunStep("Train", 112.0)
TRAINED = RunStep("Train", 112.0, 120.0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([RunStep("Prepare the data of s3://raw", 100.0)], ["running", "waiting", "waiting", "waiting"]),
        ([PREPARED], ["done", "running", "waiting", "waiting"]),
        ([PREPARED, TRAINING], ["done", "done", "running", "waiting"]),
        ([PREPARED, TRAINED], ["done", "done", "running", "waiting"]),
        ([PREPARED, TRAINED, RunStep("Register", 125.0)], ["done", "done", "done", "running"]),
    ],
)
def test_a_run_is_where_its_log_says(steps, expected):
    assert of_run(RUN, steps) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["running", "waiting", "waiting", "waiting"]),
        ({"metrics": {"customers": 5.0}}, ["done", "running", "waiting", "waiting"]),
        ({"curves": {"valid_loss": ((1, 0.5),)}}, ["done", "done", "running", "waiting"]),
        ({"versions": (RunVersion("m", "3.2", "Pending"),)}, ["done", "done", "done", "running"]),
        ({"status": "FINISHED", "ended_at_s": 130.0}, ["done"] * 4),
        ({"status": "FAILED", "metrics": {"customers": 5.0}}, ["done", "failed", "idle", "idle"]),
        ({"status": "KILLED"}, ["failed", "idle", "idle", "idle"]),
    ],
)
def test_without_a_log_the_metrics_say_it(changes, expected):
    assert of_run(msgspec.structs.replace(RUN, **changes)) == expected


def test_a_run_of_which_nothing_is_heard_is_not_said_to_go_on():
    assert of_run(RUN, [PREPARED, TRAINING], unreachable=("experiments",)) == ["done", "done", "unknown", "waiting"]


def test_the_stage_that_failed_says_why():
    run = msgspec.structs.replace(RUN, status="FAILED", ended_at_s=130.0, error="PipelineError: no disk")
    failed = stages(Runs((run,)), [PREPARED, TRAINING], (), QUIET, ()).stages[2]
    assert (failed.state, failed.detail, failed.at_s) == ("failed", "PipelineError: no disk", 130.0)


@pytest.mark.parametrize(
    ("phase", "state"),
    [("STEP", "running"), ("HOLD", "held"), ("PROMOTED", "done"), ("ROLLED_BACK", "failed"), ("SHADOW", "running")],
)
def test_the_deployment_is_the_rollout_that_goes_on(phase, state):
    line = msgspec.structs.replace(LINE, phase=phase)
    over = msgspec.structs.replace(LINE, endpoint="other", phase="PROMOTED", phase_since_s=1_000.0)
    lines = (line,) if phase in ("PROMOTED", "ROLLED_BACK") else (line, over)
    assert states(None, lines=lines)["deploy"] == state


def test_monitoring_tells_of_drift_and_of_silence():
    assert states(None, lines=(LINE,))["monitoring"] == "watching"
    assert states(None, lines=(LINE,), live=msgspec.structs.replace(QUIET, drift_alerts=2))["monitoring"] == "alert"
    silent = msgspec.structs.replace(QUIET, requests_per_s=None)
    assert states(None, lines=(LINE,), live=silent)["monitoring"] == "unknown"


def test_the_latest_run_names_its_version_and_where_it_serves():
    run = msgspec.structs.replace(RUN, versions=(RunVersion("churn-predictor", "3.2", "Staging"),))
    latest = stages(Runs((run,)), (), (LINE,), QUIET, ()).latest
    assert latest is not None
    assert (latest.run_id, latest.model, latest.version, latest.endpoint) == (
        RUN.run_id, "churn-predictor", "3.2", "churn"
    )  # fmt: skip


def test_trees_are_counted_though_only_some_of_them_have_a_value():
    run = msgspec.structs.replace(RUN, epochs=500, curves={"valid_loss": ((5, 0.5), (10, 0.4), (213, 0.3))})
    found = stages(Runs((run,)), (), (), QUIET, ()).stages
    assert next(each.detail for each in found if each.id == "training") == "213 of 500 epochs"
