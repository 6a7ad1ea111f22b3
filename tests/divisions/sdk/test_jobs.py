"""Jobs and their outcomes, as both ends write and read them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from divisions.errors import CloudError, ClusterError, GateRefusedError, PipelineError, UsageError
from divisions.sdk import jobs
from divisions.sdk.jobs import Deployed, Done, Failed, Job, TrainedRun
from divisions.versions import RegisteredVersion, RunRecord, ValidationStatus

VERSION = RegisteredVersion(
    "churn-predictor", "3.2", 2, "run", Path("/bundles/a"), "ab", ValidationStatus.PASSED, {"auc": 0.9}
)
RUN = TrainedRun("run", "churn-predictor", "3.2", 2, "passed", {"auc": 0.9}, "raw")
RECORD = RunRecord("run", "name", "pipeline", "FINISHED", 1.0, 2.0, {"epochs": "2"}, {"auc": 0.9}, {})
TRAIN = jobs.train("a.yaml", input_uri="s3://raw", today=dt.date(2025, 1, 13), uses_ray=False, is_deployed=True)


def deploy(version):
    return jobs.deploy(
        Path("a.yaml"),
        version,
        target="staging",
        targets="t.yaml",
        is_forced=True,
        overrides_others=False,
        is_watched=True,
    )


def done(result) -> bytes:
    return jobs.encode(Done(msgspec.Raw(jobs.encode(result))))


@pytest.mark.parametrize(
    "order", [TRAIN, jobs.register(VERSION), jobs.register(RUN), jobs.models(None), jobs.runs("p", 3), deploy("3.2")]
)
def test_the_other_end_reads_the_job_that_was_written(order):
    assert jobs.decode(jobs.encode(order.job), Job) == order.job


def today(given):
    return jobs.train("a.yaml", input_uri="", today=given, uses_ray=False, is_deployed=False).job.today


def test_the_day_of_a_training_is_a_date_or_its_text():
    moment = dt.datetime(2025, 1, 13, 5, tzinfo=dt.UTC)
    assert {today(each) for each in ("2025-01-13", dt.date(2025, 1, 13), moment)} == {dt.date(2025, 1, 13)}
    assert today(None) is None


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-13"])
def test_a_day_that_is_none_is_refused_before_a_process_starts(text):
    with pytest.raises(UsageError, match="which is no day"):
        today(text)


@pytest.mark.parametrize("version", ["3.2", VERSION, RUN])
def test_what_is_deployed_is_named_by_a_label_a_version_or_a_run(version):
    assert deploy(version).job.version == "3.2"


@pytest.mark.parametrize(
    ("order", "result"),
    [
        (TRAIN, RUN),
        (jobs.models("m"), (VERSION,)),
        (jobs.runs(None, 20), (RECORD,)),
        (jobs.register(RUN), VERSION),
        (jobs.register(VERSION), VERSION),
        (deploy("3.2"), Deployed("m", "3.2", "local", "promoted")),
    ],
)
def test_a_result_comes_back_as_it_was(order, result):
    assert jobs.outcome(order, done(result), 0) == result


@pytest.mark.parametrize("kind", [GateRefusedError, PipelineError, CloudError])
def test_an_error_comes_back_as_the_same_class_with_its_remedy(kind):
    with pytest.raises(kind, match="too low") as caught:
        jobs.outcome(TRAIN, jobs.encode(Failed(kind.__name__, "auc is too low", "train longer")), 1)
    assert (caught.value.message, caught.value.remedy) == ("auc is too low", "train longer")


@pytest.mark.parametrize(
    "output", [b"", b"Killed", b"{}", done({"model": 1}), b"\xff", jobs.encode(Failed("a", "b"))[:-1]]
)
def test_a_process_that_dies_without_a_word_is_reported_with_its_status(output):
    with pytest.raises(ClusterError, match=r"the process of the train job ended with status -9 and no result"):
        jobs.outcome(TRAIN, output, -9)


def test_an_error_of_a_class_that_this_release_lacks_is_still_one_of_ours():
    with pytest.raises(ClusterError, match="new"):
        jobs.outcome(TRAIN, jobs.encode(Failed("NewError", "new")), 1)
