"""Takes what a training job has made into the registry of this home: bundle, metrics, curves, report, lineage.

The job has judged the model as any run does, against the version in use that it was given. What comes back is checked
byte by byte against its hash, registered with that verdict, and signed if there is a key here. A job is taken back
once: its name is in the lineage of its version.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from deploy.training_job.contract import FEATURE_FILES, LOG_FILE, REPORT_FILES, RUN_FILE, TrainedRun
from divisions.artifacts.cache import Bundles
from divisions.artifacts.claims import using_bundles
from divisions.artifacts.local import bundles_folder
from divisions.artifacts.tarball import unpack_tarball
from divisions.bundle import Manifest, bundle_address, read_bundle
from divisions.errors import BundleError, RegistryError
from divisions.pipeline.definition import Pipeline
from divisions.registry import Registry
from divisions.registry_run import RegistryRun, RunDataset
from divisions.run_log import ARTIFACT
from divisions.settings import Settings
from divisions.versions import TRAINER, RegisteredVersion, ValidationStatus
from trainers.stages.trainer import trainer_of

JOB: Final = "training_job"
"""Key of a version's lineage: the job that has trained it."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What is known here of a job. ``champion`` is the label of the version that it was compared with."""

    name: str
    input_uri: str
    pipeline_sha256: str
    champion: str = ""


@contextlib.contextmanager
def taken_once(home: Path, job: str) -> Iterator[None]:
    """Holds the job's name, so that two commands that follow it do not both register its version."""
    folder = home / "training_jobs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / f"{job}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def version_of(registry: Registry, model: str, job: str) -> RegisteredVersion | None:
    """The version that a job has become; None if it was not taken back yet."""
    found = (each for each in registry.list_versions(model) if each.lineage.get(JOB) == job)
    return next((each for each in found if each.validation_status is not ValidationStatus.PENDING), None)


def take_back(
    settings: Settings, registry: Registry, pipeline: Pipeline, job: JobFacts, model_tar: Path, output_tar: Path
) -> RegisteredVersion:
    """Registers what a job has made.

    Raises:
        BundleError: a file is damaged, or is not of this job.
        RegistryError: the registry does not answer, or refuses.
    """
    most = settings.artifact_cache_mb * 1_000_000
    with tempfile.TemporaryDirectory(prefix="divisions-trained-") as workspace:
        bundle, output = Path(workspace) / "bundle", Path(workspace) / "output"
        for tar, folder in ((model_tar, bundle), (output_tar, output)):
            folder.mkdir()
            unpack_tarball(tar, folder, most, takes_folders=True)
        run = _read_run(output, job)
        manifest = _checked(run, pipeline, job, bundle)
        with using_bundles(settings.home):
            kept = _keep(settings.home, bundle, manifest)
            Bundles.of(settings).publish(kept, run.bundle_sha256)
            _keep_features(settings.home, output, run.lineage)
            return _register(registry, pipeline, job, run, manifest, kept, output, trainer_of(settings))


def _read_run(output: Path, job: JobFacts) -> TrainedRun:
    try:
        return msgspec.json.decode((output / RUN_FILE).read_bytes(), type=TrainedRun)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(
            f"the output of training job {job.name} has no readable {RUN_FILE}: {error}",
            remedy="use the same release of Divisions in the image and here",
        ) from None


def _checked(run: TrainedRun, pipeline: Pipeline, job: JobFacts, bundle: Path) -> Manifest:
    manifest = read_bundle(bundle, run.bundle_sha256)
    if not run.model == manifest.model == pipeline.model_name:
        raise BundleError(
            f"training job {job.name} has trained {manifest.model}, not {pipeline.model_name}",
            remedy="see what else writes into the bucket",
        )
    if run.lineage.get("pipeline_sha256") != job.pipeline_sha256:
        raise BundleError(
            f"training job {job.name} has run another pipeline file", remedy="see what else writes into the bucket"
        )
    if run.validation_status not in {ValidationStatus.PASSED, ValidationStatus.FAILED}:
        raise BundleError(
            f"training job {job.name} has left a model that is {run.validation_status!r}",
            remedy="see what else writes into the bucket",
        )
    return manifest


def _keep(home: Path, bundle: Path, manifest: Manifest) -> Path:
    """Moves a bundle to its place in the home, whole or not at all."""
    place = bundles_folder(home) / bundle_address(manifest.model, manifest.sha256)
    if place.exists():
        with contextlib.suppress(BundleError):  # what is damaged is replaced
            read_bundle(place, manifest.sha256)
            return place
    draft = place.with_name(f".{place.name}.{os.getpid()}.draft")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(bundle, draft)
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise BundleError(
            f"the bundle cannot be written to {place}: {error.strerror or error}",
            remedy="make room on the disk, and run the same command again",
        ) from None
    return place


def _keep_features(home: Path, output: Path, lineage: Mapping[str, str]) -> None:
    """The run's files of the offline store, at the places that the lineage names."""
    for key, name in FEATURE_FILES.items():
        place, source = PurePosixPath(lineage.get(key, "")), output / name
        if not source.is_file():
            continue
        if place.is_absolute() or ".." in place.parts or place.parts[:1] != ("features",):
            raise BundleError(f"the job's {key} would be written to {place}", remedy="see what writes into the bucket")
        target = home / place
        draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, draft)
            draft.replace(target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise BundleError(
                f"{target} cannot be written: {error.strerror or error}",
                remedy="make room on the disk, and run the same command again",
            ) from None


def _register(
    registry: Registry,
    pipeline: Pipeline,
    job: JobFacts,
    run: TrainedRun,
    manifest: Manifest,
    bundle: Path,
    output: Path,
    trainer: str,
) -> RegisteredVersion:
    lineage = {**run.lineage, "input_uri": job.input_uri, JOB: job.name, TRAINER: trainer}
    if not trainer:
        del lineage[TRAINER]
    if job.champion:
        lineage["parent_version"] = job.champion
    counts = {name: int(run.metrics.get(name, lineage.get(name, 0))) for name in ("customers", "rows_quarantined")}
    dataset = RunDataset(
        f"{pipeline.name} {lineage.get('partition', '')}".strip(),
        job.input_uri,
        lineage.get("data_sha256", ""),
        manifest.schema,
        counts,
    )
    tags = {"divisions.input_uri": job.input_uri, "divisions.training_job": job.name}
    with registry.start_run(pipeline.name, job.name, tags) as made:
        made.log_params(run.params)
        made.log_dataset(dataset)
        _log_curves(made, run)
        made.log_metrics(counts)
        made.log_metrics(run.metrics, step=_last_step(run))
        made.log_texts(
            {f"validation/{name}": _text(output / name) for name in REPORT_FILES if (output / name).is_file()}
        )
        made.set_tags({**lineage, "validation_status": run.validation_status})
        version = registry.register(
            made,
            model=pipeline.model_name,
            major=pipeline.model.major,
            bundle_path=bundle,
            bundle_sha256=run.bundle_sha256,
            metrics=run.metrics,
            status=ValidationStatus(run.validation_status),
            message=run.message,
            lineage=lineage,
        )
    if (output / LOG_FILE).is_file():
        with contextlib.suppress(RegistryError):  # it is in the bucket, too
            registry.keep_text(version.run_id, ARTIFACT, _text(output / LOG_FILE))
    return version


def _last_step(run: TrainedRun) -> int:
    return max((step for points in run.curves.values() for step, _ in points), default=0)


def _log_curves(made: RegistryRun, run: TrainedRun) -> None:
    steps: dict[int, dict[str, float]] = {}
    for name, points in run.curves.items():
        for step, value in points:
            steps.setdefault(step, {})[name] = value
    for step, values in sorted(steps.items()):
        made.log_metrics(values, step=step)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
