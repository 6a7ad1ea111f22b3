"""A run in Weights & Biases: its parameters, its metrics and its curves, as the registry has them.

What is sent says nothing of customers, and has no paths: data are named by their hash. The package ``wandb`` is an
optional extra, and is imported here alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from divisions.cause import cause_in
from divisions.errors import RegistryError

if TYPE_CHECKING:
    from divisions.registry import Registry
    from divisions.versions import RegisteredVersion, RunRecord

_FACTS = ("data_sha256", "code", "git_commit", "python", "training_device", "training_precision")
"""Tags of the run that are sent."""
_START_S = 30.0
"""How long the package may take to reach its server."""


class MirroredRun(msgspec.Struct, frozen=True):
    """What is sent of a run. ``history`` has the values of each epoch, by its number; ``summary`` the last ones."""

    run_id: str
    name: str
    pipeline: str
    config: dict[str, str]
    history: list[tuple[int, dict[str, float]]]
    summary: dict[str, float]
    versions: list[str]
    is_success: bool


def mirrored(
    run: RunRecord, versions: Sequence[RegisteredVersion], histories: Mapping[str, Sequence[tuple[int, float]]]
) -> MirroredRun:
    """What to send of a run. A metric that was written once has no curve.

    Args:
        run: of the registry.
        versions: those that it has registered.
        histories: of each metric, step and value of each record.
    """
    rows: dict[int, dict[str, float]] = {}
    for name, history in histories.items():
        if len(history) > 1:
            for step, value in history:
                rows.setdefault(step, {})[name] = value
    return MirroredRun(
        run_id=run.run_id,
        name=run.name,
        pipeline=run.pipeline,
        config={**run.params, **{name: run.tags[name] for name in _FACTS if name in run.tags}},
        history=sorted(rows.items()),
        summary=dict(run.metrics),
        versions=[f"{version.model} {version.version}" for version in versions],
        is_success=run.status in {"FINISHED", "RUNNING"},
    )


def read(registry: Registry, run: RunRecord) -> MirroredRun:
    """What the registry has of a run."""
    versions = [version for version in registry.list_versions() if version.run_id == run.run_id]
    return mirrored(run, versions, {name: registry.metric_history(run.run_id, name) for name in run.metrics})


def send(run: MirroredRun, project: str, folder: Path) -> None:
    """Sends a run, or with ``WANDB_MODE=offline`` writes it below ``folder``. A run that is there gets its new values.

    Raises:
        RegistryError: the package is not installed, or what it says.
    """
    try:
        import wandb
    except ImportError:
        raise RegistryError("the package wandb is not installed", remedy="pip install 'divisions[wandb]'") from None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sent = wandb.init(
            project=project,
            id=run.run_id,
            name=run.name,
            group=run.pipeline,
            job_type="training",
            config={**run.config, "versions": ", ".join(run.versions)},
            dir=str(folder),
            resume="allow",
            settings=wandb.Settings(
                console="off", disable_git=True, disable_job_creation=True, init_timeout=_START_S, save_code=False,
                silent=True, x_disable_machine_info=True, x_disable_meta=True, x_disable_stats=True,
            ),
        )  # fmt: skip
        for step, values in run.history:
            sent.log(values, step=step)
        sent.summary.update(run.summary)
        sent.finish(exit_code=0 if run.is_success else 1)
    except Exception as error:  # its own, and those of the network and the disk
        raise RegistryError(
            f"Weights & Biases did not take run {run.run_id}: {cause_in([str(error)]) or type(error).__name__}",
            remedy="check WANDB_API_KEY and WANDB_BASE_URL, or set WANDB_MODE=offline",
        ) from error
