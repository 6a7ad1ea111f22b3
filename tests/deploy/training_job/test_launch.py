"""Runs as training jobs, by moto and the files of a real container: made once, followed, taken into the registry."""

from __future__ import annotations

import contextlib
import fcntl
import io
import shutil
import time

import httpx
import pytest

from deploy.shipping.sagemaker.settings import SageMakerSettings
from deploy.training_job import job as job_module
from deploy.training_job.contract import REPORT_FILES
from deploy.training_job.launch import TrainingLaunch
from deploy.training_job.trained import JOB
from divisions.artifacts.cache import Bundles
from divisions.commands import training_job as command
from divisions.commands.output import Format
from divisions.errors import (
    BundleError,
    CloudUnreachableError,
    ClusterError,
    GateRefusedError,
    PipelineError,
    UsageError,
)
from divisions.registry import Registry
from divisions.registry_runs import report_of
from divisions.versions import ValidationStatus
from tests.deploy.shipping.sagemaker.world import ACCOUNT, IMAGE
from tests.deploy.training_job import opt_ml
from tests.deploy.training_job.account import BUCKET, STATES, Account, KilledError, extend_moto, move

LOGS = "/aws/sagemaker/TrainingJobs"


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory):
    """A home with a registry without runs: MLflow takes seconds to make one."""
    from divisions.registry import Registry

    home = tmp_path_factory.mktemp("registry") / "home"
    Registry(home).reference_version("none")
    with Registry(home).start_run("other", "makes the tables", {}):
        pass
    return home


@pytest.fixture
def account(moto_url, aws, monkeypatch, tmp_path, first, empty_home):
    httpx.post(f"{moto_url}/moto-api/reset", timeout=60).raise_for_status()
    extend_moto(monkeypatch)
    monkeypatch.setattr(SageMakerSettings, "session", lambda *_: aws)
    home = shutil.copytree(empty_home, tmp_path / "home")
    return Account(tmp_path, aws, first[0], home)


def the_job(account):
    (job,) = account.jobs.values()
    return job


def test_a_job_is_asked_for_and_followed(account):
    account.run()
    job = the_job(account)
    assert job.algorithm_specification["TrainingImage"] == IMAGE
    assert job.role_arn == f"arn:aws:iam::{ACCOUNT}:role/sagemaker"
    assert job.hyper_parameters == opt_ml.FIRST.to_hyperparameters()
    channels = {each["ChannelName"]: each["DataSource"]["S3DataSource"]["S3Uri"] for each in job.input_data_config}
    name = job.training_job_name
    assert channels == {
        "pipeline": f"s3://{BUCKET}/divisions/_training/{name}/input/",
        "events": f"s3://raw/partition={opt_ml.DAY}/events.csv",
    }
    assert job.output_data_config == {"S3OutputPath": f"s3://{BUCKET}/divisions/_training"}
    assert job.resource_config == {"InstanceType": "ml.m5.4xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50}
    assert job.stopping_condition == {"MaxRuntimeInSeconds": 7200}
    assert job.enable_network_isolation
    told = [line for line in account.progress.notices if "Job is" in line]
    assert told == [f"{state}: Job is {state.lower()}" for state in STATES[:-1]], "once each"


def test_what_it_has_made_is_registered_once_as_any_run_is(account):
    version = account.run()
    registry = account.registry
    assert (version.version, version.validation_status) == (f"3.{version.registry_version}", "passed")
    assert version.aliases == ("staging",)
    assert version.lineage[JOB] == the_job(account).training_job_name
    assert version.lineage["input_uri"] == f"s3://raw/partition={opt_ml.DAY}/events.csv"
    folder, manifest = Bundles.of(account.settings).open(version.bundle_path, version.bundle_sha256)
    assert folder.is_relative_to(account.home)
    assert manifest.metrics["auc"] == pytest.approx(version.metrics["auc"])
    report = report_of(registry, registry.get_run(version.run_id))
    assert len(report.curves["valid_loss"]) >= 3
    assert report.run.params["optimizer"] == "AdamW"
    assert report.run.status == "FINISHED"
    assert set(registry.artifact_sizes(version.run_id, "validation")) == set(REPORT_FILES)
    assert "run.log" in registry.artifact_sizes(version.run_id, "")
    for key in ("newest_features", "offline_features"):
        assert (account.home / version.lineage[key]).is_file()
    assert account.run().registry_version == version.registry_version, "the same command finds it"
    assert len(account.jobs) == 1


def test_nobody_removes_bundles_while_it_is_registered(account, monkeypatch):
    register, seen = Registry.register, []

    def registering(self, *given, **named):
        with (account.home / "bundles" / ".claims.lock").open() as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen.append("free")
        seen.append("registered")
        return register(self, *given, **named)

    monkeypatch.setattr(Registry, "register", registering)
    account.run()
    assert seen == ["registered"]


def test_another_input_or_pipeline_is_another_job(account):
    first = account.launch().plan()
    assert first == account.launch().plan()
    (account.folder / "pipeline.yaml").write_text(opt_ml.pipeline_text(auc=0.61))
    second = account.launch().plan()
    third = account.launch(given="s3://raw/partition=${today}").plan()
    names = {line for plan in (first, second, third) for line in plan if line.startswith("+ training job")}
    assert len(names) == 3


def test_a_command_that_is_killed_goes_on_with_its_job(account):
    count = 0

    def kill():
        nonlocal count
        count += 1
        if count == 3:
            raise KilledError

    account.on_pause = kill
    with pytest.raises(KilledError):
        account.run()
    version = account.run()
    assert version.validation_status is ValidationStatus.PASSED
    assert len(account.jobs) == 1
    assert any("nothing is started" in line for line in account.progress.notices)


def test_a_failed_job_is_one_line_with_the_remedy_and_the_same_command_starts_another(account):
    account.failure = "AlgorithmError: events.csv has no column\ncustomer_id, exit code: 1"
    with pytest.raises(ClusterError) as failed:
        account.run()
    text = str(failed.value)
    assert "failed: AlgorithmError: events.csv has no column customer_id, exit code: 1" in text
    assert f"its log is {LOGS}/" in text
    assert "\n" not in text
    assert account.run().validation_status is ValidationStatus.PASSED
    first, second = account.jobs
    assert second == f"{first}-2"


def test_a_job_that_was_stopped_is_told(account):
    account.on_pause = lambda: move(the_job(account), "Stopped")
    with pytest.raises(ClusterError, match="was stopped"):
        account.run()


def test_a_refused_model_is_registered_as_failed(account):
    account.change_run(validation_status="failed", message="auc 0.7 is not > 0.9")
    with pytest.raises(GateRefusedError, match=r"is refused: auc 0\.7 is not > 0\.9"):
        account.run()
    (version,) = account.registry.list_versions("churn-predictor")
    assert version.validation_status is ValidationStatus.FAILED
    with pytest.raises(GateRefusedError):
        account.run()
    assert len(account.jobs) == 1


def test_the_version_in_use_goes_along_and_a_change_meanwhile_is_told(account):
    version = account.run()
    (account.folder / "pipeline.yaml").write_text(opt_ml.pipeline_text(auc=0.61))
    launch = account.launch()
    assert f"  compared with: version {version.version}" in launch.plan()
    account.on_pause = lambda: account.registry.archive("churn-predictor", version.version)
    with pytest.raises(BundleError, match="has run another pipeline file"):
        launch.run()  # the files of this test are those of the first one
    *_, job = account.jobs.values()
    assert job.hyper_parameters["champion"] == version.version
    assert job.hyper_parameters["champion_sha256"] == version.bundle_sha256
    (channel,) = [each for each in job.input_data_config if each["ChannelName"] == "champion"]
    prefix = channel["DataSource"]["S3DataSource"]["S3Uri"]
    assert prefix.removeprefix(f"s3://{BUCKET}/") + "model.tar.gz" in account.keys


def test_bytes_that_were_changed_in_the_bucket_are_refused(account):
    path = account.spoiled / "model" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        account.run()
    assert account.registry.list_versions("churn-predictor") == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lineage": {"pipeline_sha256": "0"}}, "another pipeline file"),
        ({"model": "other"}, "has trained churn-predictor"),
        ({"validation_status": "pending"}, "a model that is 'pending'"),
    ],
)
def test_what_is_not_of_this_job_is_refused(account, changes, told):
    account.change_run(**changes)
    with pytest.raises(BundleError, match=told):
        account.run()
    assert account.registry.list_versions("churn-predictor") == []


@pytest.mark.parametrize("place", ["features/../../newest.parquet", "/newest.parquet", "bundles/newest.parquet"])
def test_features_are_written_to_the_offline_store_only(account, place):
    account.change_lineage(newest_features=place)
    with pytest.raises(BundleError, match="would be written to"):
        account.run()
    assert not list(account.folder.rglob("home*/**/newest.parquet"))


def test_a_local_file_is_uploaded_once_by_its_content(account):
    given = str(account.made / "input" / "data" / "events" / "events.csv")
    launch = account.launch(given=given)
    plan = launch.plan()
    assert any(line.startswith("+ 1 local file with ") for line in plan)
    assert not any("_inputs" in key for key in account.keys)
    launch.run()
    (key,) = [key for key in account.keys if "_inputs" in key]
    assert key.endswith("/events.csv")
    assert the_job(account).hyper_parameters["file"] == "events.csv"


def test_a_dry_run_says_what_it_costs_and_changes_nothing(account):
    plan = account.launch().plan()
    assert plan[0].startswith("at AWS as arn:aws:")
    assert "costs 1 × ml.m5.4xlarge for up to 2 h, and 50 GB of disk, while the job runs" in plan
    assert f"  role: arn:aws:iam::{ACCOUNT}:role/sagemaker" in plan
    assert "  compared with: nothing, as the first version" in plan
    assert account.jobs == {}
    assert account.keys == []


def test_the_log_of_the_job_is_shown_line_by_line(account):
    logs = account.client("logs")

    def printed():
        (name,) = account.jobs
        if account.jobs[name].secondary_status != "Training":
            return
        logs.create_log_group(logGroupName=LOGS)
        logs.create_log_stream(logGroupName=LOGS, logStreamName=f"{name}/algo-1-1")
        at = int(time.time() * 1000)
        events = [{"timestamp": at, "message": f"line {number}"} for number in range(3)]
        logs.put_log_events(logGroupName=LOGS, logStreamName=f"{name}/algo-1-1", logEvents=events)

    account.on_pause = printed
    account.run()
    assert [line for line in account.progress.notices if line.startswith("| ")] == ["| line 0", "| line 1", "| line 2"]


def test_aws_may_be_away_for_a_while_but_not_for_long(account, monkeypatch):
    describe, is_away = job_module.TrainingJobs.describe, iter([True, True, False, True, False])

    def sometimes_away(self, name):
        if account.jobs and next(is_away, always_away):
            raise CloudUnreachableError("AWS does not answer")
        return describe(self, name)

    always_away = False
    monkeypatch.setattr(job_module.TrainingJobs, "describe", sometimes_away)
    account.run()
    assert len([line for line in account.progress.notices if "the job goes on" in line]) == 2
    always_away = True
    before_s = account.clock.monotonic_s()
    jobs = job_module.TrainingJobs(account.session, account.clock, account.pause, account.progress.notice)
    with pytest.raises(CloudUnreachableError):
        jobs.follow(next(iter(account.jobs)))
    assert account.clock.monotonic_s() - before_s >= job_module.PATIENCE_S


def test_other_kinds_of_targets_train_nothing(account):
    with pytest.raises(UsageError, match="is of kind local, which trains nothing"):
        account.launch("here")
    (account.folder / "targets.yaml").write_text("targets: {eu: {kind: sagemaker, training: {hours: 2}}}")
    with pytest.raises(PipelineError, match="unknown key 'hours'"):
        account.launch()


@pytest.fixture
def interrupted(account, monkeypatch):
    """The command, whose job is interrupted by Ctrl-C while it runs."""

    def interrupt():
        raise KeyboardInterrupt

    account.on_pause = interrupt
    monkeypatch.setattr(command, "load_settings", lambda: account.settings)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    started = TrainingLaunch.__init__

    def start(self, options, settings, progress, clock=None, pause=None):
        started(self, options, settings, progress, account.clock, account.pause)

    monkeypatch.setattr(TrainingLaunch, "__init__", start)

    def run():
        files = account.folder / "pipeline.yaml", "eu", account.folder / "targets.yaml"
        given = f"s3://raw/partition={opt_ml.DAY}/events.csv"
        return command.run_at(*files, given, None, is_dry=False, output=Format.TEXT)

    return run


class Terminal:
    def isatty(self):
        return True


@pytest.mark.parametrize("stops", [True, False])
def test_a_ctrl_c_asks_whether_the_job_is_to_stop(interrupted, account, monkeypatch, capsys, stops):
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("typer.confirm", lambda text, **_: stops)
    assert interrupted() == 130
    assert (the_job(account).training_job_status == "Stopping") is stops
    assert ("is being stopped" if stops else "goes on at SageMaker") in capsys.readouterr().err


def test_without_a_terminal_the_job_goes_on_and_the_way_to_stop_it_is_told(interrupted, account, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert interrupted() == 130
    name = the_job(account).training_job_name
    assert f"aws sagemaker stop-training-job --training-job-name {name}" in capsys.readouterr().err
    assert the_job(account).training_job_status == "InProgress"
