"""The contract of SageMaker's training containers, by a real process in a folder that plays ``/opt/ml``."""

from __future__ import annotations

import os
import shutil
import signal

import msgspec
import pytest

from deploy.training_job import container
from deploy.training_job.contract import MAX_FAILURE_CHARS, Task, TrainedRun, parse_task
from divisions.artifacts.tarball import write_tarball
from divisions.bundle import read_bundle
from divisions.errors import UsageError
from tests.deploy.training_job import opt_ml
from tests.deploy.training_job.opt_ml import DAY, FIRST


def trained_run(root) -> TrainedRun:
    return msgspec.json.decode((root / "output" / "data" / "run.json").read_bytes(), type=TrainedRun)


def failure(root):
    return (root / "output" / "failure").read_text()


def test_the_model_is_a_bundle_and_the_run_is_told_beside_it(first):
    root, ended = first
    assert ended.returncode == 0, ended.stderr
    assert "Train ..." in ended.stdout, "the job's log has the run's progress"
    assert not (root / "output" / "failure").exists()
    run = trained_run(root)
    manifest = read_bundle(root / "model", run.bundle_sha256)
    assert run.model == manifest.model == "churn-predictor"
    assert run.validation_status == "passed"
    assert run.metrics["auc"] > 0.6
    assert [step for step, _ in run.curves["valid_loss"]] == [1, 2, 3]
    assert run.params["optimizer"] == "AdamW"


def test_the_partition_of_the_input_is_known_though_the_channel_has_another_name(first):
    root, _ = first
    run = trained_run(root)
    assert run.lineage["partition"] == DAY
    assert run.lineage["offline_features"].endswith(f"partition={DAY}/part.parquet")
    data = root / "output" / "data"
    assert sorted(path.name for path in data.iterdir()) == [
        *("details.json", "newest.parquet", "part.parquet", "report.html", "report.json", "run.json", "run.log")
    ]
    assert "Register" in (data / "run.log").read_text()


def test_a_refused_model_is_no_failed_job_and_was_compared_with_the_version_in_use(first, tmp_path):
    before = first[0]
    sha256 = trained_run(before).bundle_sha256
    task = Task(DAY, champion="3.7", champion_sha256=sha256)
    root = opt_ml.prepare(tmp_path, task, opt_ml.pipeline_text(auc=0.9999))
    opt_ml.write_events(root / "input" / "data" / "events", seed=1)
    champion = root / "input" / "data" / "champion"
    champion.mkdir()
    write_tarball(before / "model", champion / "model.tar.gz")
    ended = opt_ml.run(root)
    assert ended.returncode == 0, ended.stderr
    run = trained_run(root)
    assert run.validation_status == "failed"
    assert "auc" in run.message
    assert run.lineage["parent_version"] == "3.7"
    assert "auc_gain" in run.metrics
    read_bundle(root / "model", run.bundle_sha256)


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Does a job whose run is a script of the shell; gives the exit status."""
    root = opt_ml.prepare(tmp_path, Task(DAY), opt_ml.pipeline_text())

    def start(script):
        monkeypatch.setattr(container, "_command", lambda *_: ["sh", "-c", script])
        return container.train(root, {"PATH": os.environ["PATH"]})

    return start


def test_a_run_that_fails_says_why_where_sagemaker_reads_it(started, tmp_path, capsys):
    assert started("echo 'error: first' >&2; echo 'error: events.csv has no column customer_id' >&2; exit 1") == 1
    assert failure(tmp_path) == "events.csv has no column customer_id"
    assert "error: first" in capsys.readouterr().err, "all of it is in the job's log"


def test_a_run_that_the_kernel_kills_is_told_with_the_remedy(started, tmp_path):
    assert started("kill -9 $$") == 1
    assert failure(tmp_path) == container._killed(-signal.SIGKILL)
    assert "memory" in failure(tmp_path)


def test_a_run_that_ends_without_a_word_is_told_by_its_status(started, tmp_path):
    assert started("exit 7") == 7
    assert "with status 7" in failure(tmp_path)


def test_a_job_that_is_stopped_hands_that_on_and_waits_for_the_run(started, tmp_path):
    """The run stops its container, as SageMaker would; its own handler ends it as the end of an interrupted run is."""
    stop = "trap 'echo ended > ended; exit 130' TERM; cd $PLACE; kill -TERM $PPID; while :; do sleep 0.05; done"
    assert started(stop.replace("$PLACE", str(tmp_path))) == container.EXIT_STOPPED
    assert failure(tmp_path) == "the job was stopped"
    assert (tmp_path / "ended").read_text() == "ended\n"


def test_a_job_without_raw_events_is_told(tmp_path):
    assert container.train(opt_ml.prepare(tmp_path, Task(DAY), opt_ml.pipeline_text()), {}) == 1
    assert "there are no raw events in" in failure(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda config: (config / "hyperparameters.json").write_text("{"), "hyperparameters.json cannot be read"),
        (lambda config: (config / "hyperparameters.json").write_text("{}"), "not those of a run"),
        (lambda config: (config / "resourceconfig.json").unlink(), "resourceconfig.json cannot be read"),
        (lambda config: (config / "resourceconfig.json").write_text('{"hosts": ["a", "b"]}'), "has 2 instances"),
        (lambda config: shutil.rmtree(config.parent / "data"), "pipeline.yaml"),
    ],
)
def test_a_folder_that_is_not_as_it_must_be_is_told_in_one_line(tmp_path, spoil, told):
    root = opt_ml.prepare(tmp_path, Task(DAY), opt_ml.pipeline_text())
    spoil(root / "input" / "config")
    assert container.train(root, {}) == 1
    assert told in failure(root)
    assert "\n" not in failure(root)


def test_a_damaged_champion_ends_the_job(tmp_path):
    root = opt_ml.prepare(tmp_path, Task(DAY, champion="3.1", champion_sha256="0" * 64), opt_ml.pipeline_text())
    assert container.train(root, {}) == 1
    assert "version 3.1 is not in" in failure(root)


def test_a_long_reason_is_cut_to_what_sagemaker_reads(tmp_path):
    container._failed(tmp_path, "x" * 5_000)
    assert len(failure(tmp_path)) == MAX_FAILURE_CHARS


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "a\0"])
def test_names_in_hyperparameters_cannot_lead_out_of_the_channel(name):
    with pytest.raises(UsageError, match="no plain name"):
        parse_task({"today": DAY, "file": name})
    with pytest.raises(UsageError, match="no plain name"):
        parse_task({"today": DAY, "partition": name})


def test_hyperparameters_come_back_as_they_were_and_others_are_ignored():
    assert parse_task({**FIRST.to_hyperparameters(), "sagemaker_job_name": "x"}) == FIRST
    with pytest.raises(UsageError, match="not those of a run"):
        parse_task({"today": "yesterday"})
