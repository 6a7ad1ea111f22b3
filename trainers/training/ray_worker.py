"""What a training worker does: it fetches the rows, goes on from the newest checkpoint, and tells each epoch.

Rows and checkpoints are files of the store that all nodes reach (`divisions.artifacts.work_store`); they do not pass
through the driver. Workers tell each epoch through a small actor, `RunLog`, which outlives them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
import torch
from torch import nn

import divisions
from divisions.artifacts.work_store import open_work_store
from divisions.errors import ArtifactStoreError, TrainingError
from divisions.pipeline.definition import AnyHyperparams
from divisions.schema import FeatureSchema
from divisions.settings import PRIVATE_UMASK, Settings, node_home
from trainers.data.preparation import StoredRows
from trainers.training import kinds, loop
from trainers.training.capacity import Allotment
from trainers.training.checkpoints import CheckpointName, Checkpoints, is_due
from trainers.training.device_use import DeviceUse
from trainers.training.gpu_watch import watching
from trainers.training.model import use_threads
from trainers.training.priority import lower_priority
from trainers.training.resumption import training_key
from trainers.training.training_rows import fetched_rows

LAST_CHECKPOINT_S = 60.0
"""How long the last checkpoint is tried to be written. One before it may be lost; the last one holds the weights."""
_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class StoredTask:
    """What to train: as `trainers.training.compute.TrainingTask`, with the rows in the store of these settings."""

    settings: Settings
    schema: FeatureSchema
    rows: StoredRows
    hyperparams: AnyHyperparams

    def folder(self, allotment: Allotment) -> str:
        """Where the checkpoints are that this training may go on from."""
        device = "cuda, mixed precision" if allotment.num_gpus else "cpu"
        versions = (divisions.__version__, str(torch.__version__))
        key = training_key(self.schema.sha256, self.hyperparams, allotment.count, device, versions)
        return f"{self.rows.folder}/{key}"


@dataclass(frozen=True, slots=True)
class EpochDone:
    """``epoch`` counts from 0."""

    epoch: int
    metrics: dict[str, float]


Entry = EpochDone | DeviceUse | str
"""What a worker tells. Text is a notice."""


class RunLog:
    """What workers tell the driver. It is an actor, because it must outlive the workers."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._error: TrainingError | None = None
        self._num_begun = 0

    def begin(self) -> None:
        self._num_begun += 1

    def num_begun(self) -> int:
        """How many times a worker has begun."""
        return self._num_begun

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def fail(self, error: TrainingError) -> None:
        self._error = error

    def since(self, index: int) -> list[Entry]:
        return self._entries[index:]

    def error(self) -> TrainingError | None:
        return self._error


@dataclass(frozen=True, slots=True)
class Job:
    """What each worker of a training gets. ``log`` is the handle of a `RunLog`."""

    task: StoredTask
    folder: str
    log: Any
    num_threads: int


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker is among the others. ``agree`` returns rank 0's choice on every rank: ranks that choose for
    themselves might go on from different checkpoints. ``wrap`` makes the ranks share their gradients."""

    device: torch.device
    shard: loop.Shard = field(default_factory=loop.Shard)
    agree: Callable[[CheckpointName | None], CheckpointName | None] = lambda newest: newest
    wrap: Callable[[nn.Module], nn.Module] | None = None


def learn(job: Job, place: Place) -> None:
    """Trains to the last epoch. A `TrainingError` goes to the log: it would happen again, so no worker must start anew.

    Raises:
        ArtifactStoreError: the store does not answer, or refuses.
    """
    lower_priority()
    os.umask(PRIVATE_UMASK)
    use_threads(job.num_threads)
    task, log, shard = job.task, job.log, place.shard
    store = open_work_store(task.settings)
    checkpoints = Checkpoints(store, job.folder)
    try:
        with fetched_rows(task.rows, store, node_home(task.settings.home) / "training" / "rows") as data:
            newest = place.agree(checkpoints.newest() if shard.rank == 0 else None)
            state = checkpoints.load(newest) if newest is not None else None
            if shard.rank == 0 and state is not None:
                for epoch, metrics in loop.told_epochs(state):
                    log.add.remote(EpochDone(epoch, metrics))
            with watching(place.device, kinds.precision(task.hyperparams, place.device)) as watch:
                kinds.train(
                    task.schema,
                    data,
                    task.hyperparams,
                    _reporter(task, checkpoints, log) if shard.rank == 0 else lambda *_: None,
                    device=place.device,
                    shard=shard,
                    wrap=place.wrap,
                    resume_from=state,
                )
            if shard.rank == 0:
                log.add.remote(watch.use)
    except TrainingError as error:
        ray.get(log.fail.remote(error))
    ray.get(log.error.remote())  # All that was told before has arrived.


def _reporter(task: StoredTask, checkpoints: Checkpoints, log: Any) -> loop.Report:
    def report(epoch: int, metrics: dict[str, float], state: loop.State | None) -> None:
        log.add.remote(EpochDone(epoch, metrics))
        if state is None or not is_due(state["epoch"], task.hyperparams.epochs):
            return
        is_last = state["epoch"] + 1 == task.hyperparams.epochs
        _save(checkpoints, state, LAST_CHECKPOINT_S if is_last else 0.0, log.add.remote)

    return report


def _save(checkpoints: Checkpoints, state: loop.State, patience_s: float, tell: Callable[[str], object]) -> None:
    """Writes a checkpoint. A store that is away costs the checkpoint, not the training, unless it is the last one."""
    begun_s = time.monotonic()
    while True:
        try:
            checkpoints.save(state)
        except ArtifactStoreError as error:
            if patience_s == 0.0:
                tell(f"the checkpoint after epoch {state['epoch'] + 1} was not written: {error.message}")
                return
            if time.monotonic() - begun_s > patience_s:
                raise TrainingError(
                    f"the trained weights were not written: {error.message}", remedy=error.remedy
                ) from None
            time.sleep(_PAUSE_S)
        else:
            return
