"""``train``, as SageMaker starts it: runs ``python -m trainers`` by the contract of its training containers.

The run is a process of its own, so that one which the kernel kills for its memory is told, too. A model that a gate
refuses is no failed job: SageMaker keeps no files of those. Its bundle says that it was refused, and it is registered
as failed by whoever started the job.

Exit status: 0; 1 if the run failed, with the reason in ``/opt/ml/output/failure``; 130 after SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from deploy.training_job.contract import (
    CHAMPION,
    CHAMPION_FILE,
    EVENTS,
    FEATURE_FILES,
    LOG_FILE,
    MAX_FAILURE_CHARS,
    PIPELINE,
    PIPELINE_FILE,
    REPORT_FILES,
    RUN_FILE,
    Task,
    TrainedRun,
    parse_task,
)
from divisions.artifacts.local import bundles_folder, local_bundle
from divisions.artifacts.tarball import unpack_tarball
from divisions.bundle import bundle_address, read_bundle
from divisions.environment import inherited_environment
from divisions.errors import BundleError, DivisionsError, InputError, TrainingError, UsageError, reason_of
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.file import load_pipeline
from divisions.registry import Registry
from divisions.registry_records import LABEL
from divisions.registry_runs import log_of, report_of
from divisions.registry_writes import SqliteWrites
from divisions.settings import PRIVATE_UMASK, load_settings
from divisions.versions import RegisteredVersion, ValidationStatus

ROOT = Path("/opt/ml")
EXIT_FAILED, EXIT_STOPPED = 1, 130
_HOME, _REGISTRY = "DIVISIONS_HOME", ("DIVISIONS_TRACKING_URI", "DIVISIONS_ARTIFACTS", "DIVISIONS_DATABASE")
_ERROR = "error: "


def train(root: Path, environment: Mapping[str, str]) -> int:
    """Does the job of the folder ``root``; returns the exit status."""
    try:
        task = parse_task(_configuration(root, "hyperparameters.json"))
        _require_one_host(_configuration(root, "resourceconfig.json"))
        pipeline = load_pipeline(root / "input" / "data" / PIPELINE / PIPELINE_FILE)
        with tempfile.TemporaryDirectory(prefix="divisions-train-") as folder:
            return _train(root, Path(folder), task, pipeline, environment)
    except DivisionsError as error:
        print(f"{_ERROR}{error}", file=sys.stderr, flush=True)
        return _failed(root, str(error))


def _train(root: Path, folder: Path, task: Task, pipeline: Pipeline, environment: Mapping[str, str]) -> int:
    home = folder / "home"
    home.mkdir()
    registry = Registry(home)
    if task.champion:
        _register_champion(registry, home, root, task, pipeline)
    known = {version.registry_version for version in registry.list_versions(pipeline.model_name)}
    status, last_error = _run(_command(root, folder, task), _environment(environment, home))
    trained = [each for each in registry.list_versions(pipeline.model_name) if each.registry_version not in known]
    judged = [each for each in trained if each.validation_status is not ValidationStatus.PENDING]
    if judged and status in {0, EXIT_FAILED}:  # 1 as well: a gate has refused it
        _export(registry, home, judged[0], root)
        return 0
    if status == EXIT_STOPPED:
        return _failed(root, "the job was stopped", EXIT_STOPPED)
    return _failed(root, last_error or _killed(status), status if status > 0 else EXIT_FAILED)


def _configuration(root: Path, name: str) -> dict[str, Any]:
    path = root / "input" / "config" / name
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {reason_of(error)}",
            remedy="this is for SageMaker, which writes it; see docs/sagemaker.md",
        ) from None


def _require_one_host(resources: Mapping[str, Any]) -> None:
    hosts = resources.get("hosts") or ()
    if len(hosts) > 1:
        raise UsageError(
            f"the job has {len(hosts)} instances, and a run uses one",
            remedy="start the job with `divisions run --target`",
        )


def _register_champion(registry: Registry, home: Path, root: Path, task: Task, pipeline: Pipeline) -> None:
    """The version in use, in the registry of this run: as in any run, the new one is compared with it."""
    tar = root / "input" / "data" / CHAMPION / CHAMPION_FILE
    if not tar.is_file():
        raise BundleError(f"version {task.champion} is not in {tar}", remedy="run the same command again")
    folder = bundles_folder(home) / bundle_address(pipeline.model_name, task.champion_sha256)
    with registry.start_run(pipeline.name, f"version {task.champion}", {}) as run:  # a registry has runs before bundles
        folder.mkdir(parents=True)
        unpack_tarball(tar, folder, load_settings().artifact_cache_mb * 1_000_000)
        version = registry.register(
            run,
            model=pipeline.model_name,
            major=pipeline.model.major,
            bundle_path=folder,
            bundle_sha256=task.champion_sha256,
            metrics=read_bundle(folder, task.champion_sha256).metrics,
            status=ValidationStatus.PASSED,
        )
    SqliteWrites(home / "mlflow.db").set_tag(version.model, version.registry_version, LABEL, task.champion)


def _command(root: Path, folder: Path, task: Task) -> list[str]:
    pipeline = root / "input" / "data" / PIPELINE / PIPELINE_FILE
    events = root / "input" / "data" / EVENTS
    if not events.is_dir():
        raise InputError(f"there are no raw events in {events}", remedy="check the input, and run the command again")
    if task.partition:  # the offline store and the lineage name it
        link = folder / task.partition
        link.symlink_to(events, target_is_directory=True)
        events = link
    given = events / task.file if task.file else events
    return [
        *(sys.executable, "-m", "trainers", "--pipeline", str(pipeline), "--input", str(given)),
        *("--today", task.today, "--no-deploy", "--no-ray"),
    ]


def _environment(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """The container's, with a home and a registry of this run's own."""
    kept = {name: value for name, value in environment.items() if name not in _REGISTRY}
    return {**kept, _HOME: str(home), "PYTHONUNBUFFERED": "1"}


def _run(command: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit status of a command, and the last error that it has printed. SIGTERM and SIGINT are handed to it."""
    last_error = ""
    with (
        _handing_on() as hand_to,
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace") as child,
    ):
        hand_to(child)
        assert child.stderr is not None
        for line in child.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            if line.startswith(_ERROR):
                last_error = line.removeprefix(_ERROR).strip()
        return child.wait(), last_error


@contextlib.contextmanager
def _handing_on() -> Iterator[Callable[[subprocess.Popen[str]], None]]:
    """Hands on the signals that end a container, also one that comes before the child is there."""
    children: list[subprocess.Popen[str]] = []
    came = False

    def hand_on(*_: int | FrameType | None) -> None:
        nonlocal came
        came = True
        for child in children:
            child.send_signal(signal.SIGTERM)

    def hand_to(child: subprocess.Popen[str]) -> None:
        children.append(child)
        if came:
            child.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield hand_to
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _killed(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the run was killed, most likely for its memory. Choose an instance type with more of it"
    name = f"by signal {-status}" if status < 0 else f"with status {status}"
    return f"the run ended {name}, without a reason. See the job's log"


def _export(registry: Registry, home: Path, version: RegisteredVersion, root: Path) -> None:
    """The bundle for ``/opt/ml/model``, and what a registry needs of its run for ``/opt/ml/output/data``."""
    run = registry.get_run(version.run_id)
    report = report_of(registry, run)
    trained = TrainedRun(
        model=version.model,
        bundle_sha256=version.bundle_sha256,
        validation_status=version.validation_status.value,
        message=version.message,
        metrics=version.metrics,
        curves={name: registry.metric_history(run.run_id, name) for name in report.curves},
        params=dict(run.params),
        lineage=version.lineage,
    )
    data, model = root / "output" / "data", root / "model"
    try:
        for folder in (data, model):
            folder.mkdir(parents=True, exist_ok=True)
        for path in local_bundle(home, version.bundle_path).iterdir():
            shutil.copyfile(path, model / path.name)
        for key, name in FEATURE_FILES.items():
            place = home / version.lineage.get(key, "")
            if place.is_file():
                shutil.copyfile(place, data / name)
        for name in REPORT_FILES:
            with contextlib.suppress(DivisionsError):  # a report that was not kept refuses no model
                registry.download_artifact(run.run_id, f"validation/{name}", home)
                shutil.copyfile(home / "validation" / name, data / name)
        (data / LOG_FILE).write_text(log_of(registry, home, run))
        (data / RUN_FILE).write_bytes(msgspec.json.encode(trained))
    except OSError as error:
        raise TrainingError(
            f"{error.filename or root} cannot be read or written: {error.strerror}",
            remedy="give the job a larger volume (training.volume_gb of the target)",
        ) from None


def _failed(root: Path, reason: str, status: int = EXIT_FAILED) -> int:
    """Leaves the reason where SageMaker reads it."""
    with contextlib.suppress(OSError):
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output" / "failure").write_text(reason[:MAX_FAILURE_CHARS])
    return status


def main(arguments: Sequence[str]) -> int:
    return train(Path(arguments[0]) if arguments else ROOT, inherited_environment())


if __name__ == "__main__":
    os.umask(PRIVATE_UMASK)
    sys.exit(main(sys.argv[1:]))
