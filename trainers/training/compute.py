"""Where the heavy stages run: in this process, or on a Ray cluster (`trainers.training.ray_compute`)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from divisions.errors import TrainingError
from divisions.pipeline.definition import AnyHyperparams, Distribution, Resources
from divisions.schema import FeatureSchema
from trainers.data.preparation import PreparationTask, Prepared, StoredRows, prepare
from trainers.training.capacity import NodeCapacity
from trainers.training.device_use import DeviceUse

if TYPE_CHECKING:
    from trainers.training.kinds import TrainedModel
    from trainers.training.scoreboard import Heard, Scoreboard
    from trainers.training.training_rows import TrainingData

EpochListener = Callable[[int, Mapping[str, float]], None]
"""Takes the epoch's number, counted from 1, and its metrics."""

DeviceListener = Callable[[DeviceUse], None]
"""Takes what a training has run on."""


def not_told(use: DeviceUse) -> None:
    """The listener of those who do not ask."""


ONE_PROCESS = "read on one node, though data_prep.distributed is always: --no-ray runs every stage in one process"


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """What to train. ``data`` contains no row of the hold-out; it is in this process, or in the store of the run."""

    pipeline: str
    schema: FeatureSchema
    data: TrainingData | StoredRows
    hyperparams: AnyHyperparams


@dataclass(frozen=True, slots=True)
class SearchTask:
    """Trainings with the same rows and other hyperparameters, within ``budget_s``. Trial n has the n-th candidate."""

    training: TrainingTask
    candidates: tuple[AnyHyperparams, ...]
    budget_s: float


class Compute(Protocol):
    """Runs the heavy stages on a machine or cluster."""

    def nodes(self) -> tuple[NodeCapacity, ...]: ...

    def prepare(self, pipeline: str, task: PreparationTask, resources: Resources) -> Prepared: ...

    def train(
        self,
        task: TrainingTask,
        resources: Resources,
        num_workers: int,
        on_epoch: EpochListener,
        on_device: DeviceListener = not_told,
    ) -> TrainedModel: ...

    def search(self, task: SearchTask, resources: Resources, board: Scoreboard) -> None:
        """Tries the candidates, one worker each, and tells the board of them. Trials that fail are its matter.

        Raises:
            TrainingError: no trial could be started.
        """
        ...

    def finish(self) -> None:
        """Removes what was kept for the case that the run is interrupted. Called when its version is registered."""
        ...


class InProcess:
    """Runs everything in this process, on its CPUs: for tests, and for debugging without a cluster."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s

    def nodes(self) -> tuple[NodeCapacity, ...]:
        return (NodeCapacity(num_cpus=float(os.cpu_count() or 1), memory_gb=0.0),)

    def prepare(self, pipeline: str, task: PreparationTask, resources: Resources) -> Prepared:
        prepared = prepare(task)
        if task.distributed is not Distribution.ALWAYS:
            return prepared
        table = replace(prepared.table, notes=(*prepared.table.notes, ONE_PROCESS))
        return replace(prepared, table=table)

    def train(
        self,
        task: TrainingTask,
        resources: Resources,
        num_workers: int,
        on_epoch: EpochListener,
        on_device: DeviceListener = not_told,
    ) -> TrainedModel:
        from torch import device

        from trainers.training.kinds import precision, train
        from trainers.training.model import use_threads

        assert not isinstance(task.data, StoredRows)  # nothing here stores rows
        use_threads(1)
        on_device(DeviceUse(precision=precision(task.hyperparams, device("cpu"))))
        return train(task.schema, task.data, task.hyperparams, lambda epoch, metrics, _: on_epoch(epoch + 1, metrics))

    def search(self, task: SearchTask, resources: Resources, board: Scoreboard) -> None:
        """One trial after the other, each to its end: with one process, nothing is gained by an early stop."""
        from trainers.training.model import use_threads
        from trainers.training.trial import run_trial

        training, deadline_s = task.training, self._now_s() + task.budget_s
        assert not isinstance(training.data, StoredRows)  # nothing here stores rows
        use_threads(1)

        for number, hyperparams in enumerate(task.candidates, 1):

            def tell(news: Heard, number: int = number) -> None:
                board.heard(number, news)
                if self._now_s() >= deadline_s:
                    raise _OutOfTimeError

            if self._now_s() >= deadline_s:
                return
            board.began(number)
            try:
                run_trial(training.schema, training.data, hyperparams, tell)
            except _OutOfTimeError:
                return
            except TrainingError as error:
                board.failed(number, error.message)
            else:
                board.ended(number)

    def finish(self) -> None:
        pass


class _OutOfTimeError(Exception):
    """The budget of a search is over."""
