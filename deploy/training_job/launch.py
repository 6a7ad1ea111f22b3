"""The composition root of a run at SageMaker: upload, create or find the job, follow it, take its model back."""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.shipping.image_check import require_signed_image
from deploy.shipping.sagemaker.settings import SageMakerSettings
from deploy.shipping.target_file import load_target
from deploy.training_job.contract import CHAMPION, CHAMPION_FILE, EVENTS, PIPELINE, PIPELINE_FILE, Task
from deploy.training_job.inputs import Input, find_input, upload_input
from deploy.training_job.job import TrainingJobs
from deploy.training_job.request import Job, request
from deploy.training_job.trained import JobFacts, take_back, taken_once, version_of
from divisions.artifacts.cache import Bundles
from divisions.artifacts.tarball import write_tarball
from divisions.clock import Clock, SystemClock
from divisions.errors import GateRefusedError, UsageError
from divisions.pipeline.file import load_pipeline
from divisions.pipeline.variables import expand
from divisions.progress import Progress, step
from divisions.registry import Registry
from divisions.settings import Settings
from divisions.versions import RegisteredVersion, ValidationStatus


@dataclass(frozen=True, slots=True)
class JobOptions:
    """A user's options. ``today`` is the day of ``${today}``; None means today in UTC."""

    pipeline_path: Path
    target: str
    targets: Path
    input_uri: str = ""
    today: dt.date | None = None


class TrainingLaunch:
    """A run of a pipeline as a training job.

    Args:
        options: the user's.
        settings: of this home.
        progress: shows what happens.
        clock: for waiting, and for the day.
        pause: waits for a number of seconds.

    Raises:
        PipelineError: the pipeline file or the file of targets is malformed.
        UsageError: the target cannot train.
    """

    def __init__(
        self,
        options: JobOptions,
        settings: Settings,
        progress: Progress,
        clock: Clock | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        spec = load_target(options.targets, options.target)
        if not isinstance(spec.settings, SageMakerSettings):
            raise UsageError(
                f"target {options.target!r} is of kind {spec.kind}, which trains nothing",
                remedy="name a target of kind sagemaker; on a cluster, submit `python -m trainers` as a Ray job",
            )
        self._clock = clock or SystemClock()
        self._target = spec.settings
        self._verifies_image = spec.verify_image
        self._settings = replace(settings, artifacts=spec.artifacts or settings.artifacts)
        self._progress = progress
        self._pipeline = load_pipeline(options.pipeline_path)
        self._pipeline_text = options.pipeline_path.read_bytes()
        self._today = options.today or dt.datetime.fromtimestamp(self._clock.wall_s(), dt.UTC).date()
        self._uri = expand(
            options.input_uri or self._pipeline.data_prep.input, self._today, pipeline=self._pipeline.name
        )
        self._registry = Registry(settings.home, settings.tracking_uri, self._clock, self._settings.artifacts)
        self._session = spec.settings.session(settings)
        self._jobs = TrainingJobs(self._session, self._clock, pause, progress.notice)
        self.name = ""
        """The job that is followed; empty before it is known."""

    def plan(self) -> list[str]:
        """What `run` would do, and what it costs. Changes nothing."""
        caller = self._session.caller()
        found = find_input(self._jobs, self._uri, self._target, self._settings)
        name, description = self._jobs.latest(self._job(found, None).name)
        champion = self._registry.reference_version(self._pipeline.model_name)
        lines = [f"at AWS as {caller}"]
        if description is not None:
            state = description["TrainingJobStatus"]
            version = version_of(self._registry, self._pipeline.model_name, name)
            if version is not None:
                return [*lines, f"training job {name} is {version.model} {version.version} already: nothing to do"]
            return [*lines, f"training job {name} is there ({state}): it would be followed, and its model registered"]
        lines += [f"+ {found.uploads} to {found.prefix}"] if found.uploads else []
        lines += [
            f"+ training job {name} in {self._session.region}, with {self._target.training_image}",
            f"  input: {found.prefix}",
            f"  output: {self._target.bucket}/_training/{name}/output",
            f"  role: {self._target.training_role}",
            f"  compared with: {f'version {champion.version}' if champion else 'nothing, as the first version'}",
            f"costs {self._job(found, None).cost}",
        ]
        return lines

    def run(self) -> RegisteredVersion:
        """Makes the job, or finds the one that the same command has made, follows it, and registers its version.

        Raises:
            GateRefusedError: the version is registered as failed.
            ClusterError: the job has failed, or was stopped.
            CloudError: AWS refuses, or is away for long.
            KeyboardInterrupt: the job goes on; see `stop`.
        """
        with step(self._progress, self._clock, "Log in to AWS") as current:
            current.detail = str(self._session.caller())
        found = find_input(self._jobs, self._uri, self._target, self._settings)
        self.name, description = self._jobs.latest(self._job(found, None).name)
        if description is None:
            if self._verifies_image:
                image = self._target.training_image
                with step(self._progress, self._clock, f"Check who has signed {image}") as current:
                    current.detail = f"signed by {require_signed_image(image, self._settings)}"
            self._create(found)
        else:
            state = description["TrainingJobStatus"]
            self._progress.notice(f"training job {self.name} is there ({state}): nothing is started")
        version = version_of(self._registry, self._pipeline.model_name, self.name)
        if version is None:
            with step(self._progress, self._clock, f"Follow training job {self.name}"):
                ended = self._jobs.follow(self.name)
            with taken_once(self._settings.home, self.name):
                version = version_of(self._registry, self._pipeline.model_name, self.name) or self._take_back(ended)
        if version.validation_status is ValidationStatus.FAILED:
            raise GateRefusedError(
                f"version {version.version} of {version.model} is refused: {version.message}",
                remedy=f"it is registered as failed and not served; see `divisions runs show {version.run_id[:8]}`",
            )
        return version

    def stop(self) -> None:
        """Stops the job that `run` follows."""
        self._jobs.stop(self.name)

    # -- parts --------------------------------------------------------------------------------------------------

    def _job(self, found: Input, champion: RegisteredVersion | None) -> Job:
        task = Task(
            self._today.isoformat(),
            found.partition,
            found.file,
            champion.version if champion else "",
            champion.bundle_sha256 if champion else "",
        )
        return Job(self._pipeline.model_name, self._pipeline_sha256, found.prefix, task, self._target)

    @property
    def _pipeline_sha256(self) -> str:
        return hashlib.sha256(self._pipeline_text).hexdigest()

    def _create(self, found: Input) -> None:
        champion = self._registry.reference_version(self._pipeline.model_name)
        job = self._job(found, champion)
        bucket, prefix = self._target.bucket_and_prefix
        with step(self._progress, self._clock, f"Upload to {self._target.bucket}") as current:
            folder = f"{prefix}_training/{self.name}/input"
            self._jobs.put(bucket, f"{folder}/{PIPELINE_FILE}", self._pipeline_text)
            channels = {PIPELINE: f"s3://{bucket}/{folder}/", EVENTS: found.prefix}
            if champion is not None:
                channels[CHAMPION] = self._upload_champion(bucket, champion)
            upload_input(self._jobs, found)
            current.detail = found.uploads or "the pipeline file"
        with step(self._progress, self._clock, f"Create training job {self.name}") as current:
            is_made = self._jobs.create(request(job, self.name, channels))
            current.detail = job.cost if is_made else "another command has made it"

    def _upload_champion(self, bucket: str, champion: RegisteredVersion) -> str:
        key = self._target.upload_key(champion.model, champion.bundle_sha256)
        if not self._jobs.has(bucket, key):
            folder, _ = Bundles.of(self._settings).open(champion.bundle_path, champion.bundle_sha256)
            with tempfile.TemporaryDirectory(prefix="divisions-upload-") as workspace:
                tar = Path(workspace) / CHAMPION_FILE
                write_tarball(folder, tar)
                self._jobs.put(bucket, key, tar, Metadata={"bundle-sha256": champion.bundle_sha256})
        return f"s3://{bucket}/{key.removesuffix(CHAMPION_FILE)}"

    def _take_back(self, description: dict[str, Any]) -> RegisteredVersion:
        task = description.get("HyperParameters") or {}
        job = JobFacts(self.name, self._uri, self._pipeline_sha256, task.get("champion", ""))
        bucket, _, key = description["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
        with tempfile.TemporaryDirectory(prefix="divisions-trained-") as workspace:
            model, output = Path(workspace) / "model.tar.gz", Path(workspace) / "output.tar.gz"
            with step(self._progress, self._clock, "Fetch the model") as current:
                self._jobs.fetch(bucket, key, model)
                self._jobs.fetch(bucket, f"{key.rpartition('/')[0]}/output.tar.gz", output)
                current.detail = f"{model.stat().st_size:,} bytes"
            with step(self._progress, self._clock, "Register") as current:
                present = self._registry.reference_version(self._pipeline.model_name)
                version = take_back(self._settings, self._registry, self._pipeline, job, model, output)
                current.detail = f"{version.model} version {version.version}, {version.validation_status}"
        if present is not None and present.version != job.champion:
            self._progress.notice(
                f"it was compared with {f'version {job.champion}' if job.champion else 'no version'}, as it stood when"
                f" the job began; now version {present.version} is in use"
            )
        from trainers.export.signature import sign_registered

        sign_registered(self._settings, self._registry, version, self._progress, self._clock)
        return version
