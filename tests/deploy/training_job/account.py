"""SageMaker's training jobs by moto, with what it lacks: time, refusals of a name that is taken, and files.

Time is a clock that stands still. `Account.pause` moves it, and each job by one state.
"""

from __future__ import annotations

import datetime as dt
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from moto.sagemaker.exceptions import SagemakerClientError
from moto.sagemaker.models import FakeTrainingJob, SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from deploy.aws.session import AwsSession
from deploy.training_job.contract import TrainedRun
from deploy.training_job.launch import JobOptions, TrainingLaunch
from divisions.clock import ManualClock
from divisions.progress import LineProgress
from divisions.registry import Registry
from divisions.settings import Settings
from divisions.versions import RegisteredVersion
from tests.deploy.shipping.sagemaker.world import ACCOUNT, IMAGE, REGION
from tests.deploy.training_job import opt_ml

BUCKET = "models"
STATES = ("Starting", "Downloading", "Training", "Uploading", "Completed")
TARGETS = f"""
targets:
  eu:
    kind: sagemaker
    region: {REGION}
    image: {IMAGE}
    execution_role: arn:aws:iam::{ACCOUNT}:role/sagemaker
    bucket: s3://{BUCKET}/divisions
    instance_type: ml.m5.large
    training: {{instance_type: ml.m5.4xlarge, volume_gb: 50, max_hours: 2}}
  here:
    kind: local
"""


class KilledError(BaseException):
    """Stands for `kill -9`: nothing catches it."""


def extend_moto(monkeypatch: Any) -> None:
    """Gives moto what SageMaker has: names that are taken, jobs that last, and an end that is wanted."""
    create = SageMakerModelBackend.create_training_job

    def create_training_job(self: SageMakerModelBackend, training_job_name: str, **given: Any) -> FakeTrainingJob:
        if training_job_name in self.training_jobs:
            raise SagemakerClientError("ResourceInUse", "Training job names must be unique within an AWS account")
        job = create(self, training_job_name, **given)
        move(job, "Starting")
        return job

    def stop_training_job(self: SageMakerResponse) -> str:
        job = self.sagemaker_backend.training_jobs[self._get_param("TrainingJobName")]
        job.training_job_status = job.secondary_status = "Stopping"
        return "{}"

    monkeypatch.setattr(SageMakerModelBackend, "create_training_job", create_training_job)
    monkeypatch.setattr(SageMakerResponse, "stop_training_job", stop_training_job, raising=False)


def move(job: FakeTrainingJob, state: str) -> None:
    job.secondary_status = state
    job.training_job_status = state if state in {"Completed", "Failed", "Stopped"} else "InProgress"
    known = [] if state == "Starting" else job.secondary_status_transitions
    at = dt.datetime(2025, 1, 13, tzinfo=dt.UTC).replace(tzinfo=None)
    message = f"Job is {state.lower()}" if state != "Completed" else ""
    job.secondary_status_transitions = [*known, {"Status": state, "StartTime": at, "StatusMessage": message}]


class Told(LineProgress):
    """Keeps the notices of a run, and writes the rest nowhere."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


@dataclass
class Account:
    """An account, a home, and the files that a real container has left.

    Attributes:
        made: the folder of a finished container, as `tests.deploy.training_job.opt_ml` plays it.
        failure: why the next job fails; empty if it does not.
    """

    folder: Path
    session: AwsSession
    made: Path
    home: Path
    clock: ManualClock = field(default_factory=ManualClock)
    progress: Told = field(default_factory=Told)
    failure: str = ""
    on_pause: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        for bucket in (BUCKET, "raw"):
            self.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        events = self.made / "input" / "data" / "events" / "events.csv"
        self.client("s3").put_object(Bucket="raw", Key=f"partition={opt_ml.DAY}/events.csv", Body=events.read_bytes())
        (self.folder / "pipeline.yaml").write_text(opt_ml.pipeline_text())
        (self.folder / "targets.yaml").write_text(TARGETS)
        self.spoiled = self.folder / "spoiled"
        shutil.copytree(self.made, self.spoiled)

    def client(self, service: str) -> Any:
        return self.session.client(service)

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home)

    @property
    def registry(self) -> Registry:
        return Registry(self.home)

    @property
    def jobs(self) -> dict[str, FakeTrainingJob]:
        jobs: dict[str, FakeTrainingJob] = sagemaker_backends[ACCOUNT][REGION].training_jobs
        return jobs

    @property
    def keys(self) -> list[str]:
        found = self.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", ())
        return [each["Key"] for each in found]

    def launch(self, target: str = "eu", given: str = "s3://raw/partition=${today}/events.csv") -> TrainingLaunch:
        day = dt.date.fromisoformat(opt_ml.DAY)
        options = JobOptions(self.folder / "pipeline.yaml", target, self.folder / "targets.yaml", given, day)
        self.progress = Told()
        return TrainingLaunch(options, self.settings, self.progress, self.clock, self.pause)

    def run(self) -> RegisteredVersion:
        return self.launch().run()

    def change_run(self, **changes: Any) -> None:
        """Changes what the container has written of its run."""
        path = self.spoiled / "output" / "data" / "run.json"
        run = msgspec.json.decode(path.read_bytes(), type=TrainedRun)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(run, **changes)))

    def change_lineage(self, **changes: str) -> None:
        path = self.spoiled / "output" / "data" / "run.json"
        run = msgspec.json.decode(path.read_bytes(), type=TrainedRun)
        self.change_run(lineage={**run.lineage, **changes})

    # -- time ---------------------------------------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for name, job in self.jobs.items():
            if job.training_job_status == "Stopping":
                move(job, "Stopped")
            elif job.training_job_status == "InProgress":
                self._advance(name, job)
        self.on_pause()

    def _advance(self, name: str, job: FakeTrainingJob) -> None:
        state = STATES[STATES.index(job.secondary_status) + 1]
        if self.failure and state == "Uploading":
            job.failure_reason, self.failure = self.failure, ""
            move(job, "Failed")
            return
        if state == "Uploading":
            self._upload(name)
        move(job, state)

    def _upload(self, name: str) -> None:
        for folder, tar in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
            packed = opt_ml.pack(self.spoiled / folder, self.folder / tar)
            key = f"divisions/_training/{name}/output/{tar}"
            self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=packed.read_bytes())
