"""Where the heavy stages run: in this process, or on a Ray cluster (`trainers.training.ray_compute`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from divisions.pipeline.definition import AnyHyperparams, Distribution, Resources
from divisions.schema import FeatureSchema
from trainers.data.preparation import PreparationTask, Prepared, StoredRows, prepare
from trainers.training.capacity import NodeCapacity
from trainers.training.device_use import DeviceUse

if TYPE_CHECKING:
    from trainers.training.kinds import TrainedModel
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

    def finish(self) -> None:
        """Removes what was kept for the case that the run is interrupted. Called when its version is registered."""
        ...


class InProcess:
    """Runs everything in this process, on its CPUs: for tests, and for debugging without a cluster."""

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

    def finish(self) -> None:
        pass
