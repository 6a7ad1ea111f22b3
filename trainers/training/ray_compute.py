"""The heavy stages on a Ray cluster: data preparation as one task, training through Ray Train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError, RayTaskError

from divisions.errors import DivisionsError, TrainingError
from divisions.pipeline.definition import Resources
from divisions.progress import Progress
from trainers.data.preparation import PreparationTask, Prepared, prepare
from trainers.training import ray_session, ray_train
from trainers.training.capacity import BYTES_PER_GB, Allotment, NodeCapacity
from trainers.training.compute import EpochListener, TrainingTask
from trainers.training.priority import lower_priority

if TYPE_CHECKING:
    from trainers.training.model import TabularModel


class RayCompute:
    """Runs the stages on Ray. The process must be connected (`ray_session.connect`). ``storage`` is the folder for
    checkpoints. With workers on several nodes, all of them must share it."""

    def __init__(self, storage: Path, progress: Progress) -> None:
        self._storage = storage
        self._progress = progress

    def nodes(self) -> tuple[NodeCapacity, ...]:
        return ray_session.nodes()

    def prepare(self, task: PreparationTask, resources: Resources) -> Prepared:
        allotment = self._acquire("data_prep", resources, 1)
        remote = ray.remote(_prepare).options(
            num_cpus=allotment.num_cpus,
            num_gpus=allotment.num_gpus,
            memory=int(allotment.memory_gb * BYTES_PER_GB) or None,
            max_retries=2,
            name="divisions-data-prep",
        )
        try:
            prepared: Prepared = ray.get(remote.remote(task))
        except RayTaskError as error:
            if isinstance(error.cause, DivisionsError):
                raise error.cause from None
            raise
        except RayError as error:
            raise TrainingError(
                f"the data preparation task died: {error}", remedy="see Ray's dashboard; it may need more memory"
            ) from error
        return prepared

    def train(
        self, task: TrainingTask, resources: Resources, num_workers: int, on_epoch: EpochListener
    ) -> TabularModel:
        allotment = self._acquire("training", resources, num_workers)
        return ray_train.train(task, allotment, self._storage, on_epoch)

    def _acquire(self, stage: str, resources: Resources, count: int) -> Allotment:
        allotment = ray_session.acquire(stage, resources, count)
        for notice in allotment.notices:
            self._progress.notice(notice)
        return allotment


def _prepare(task: PreparationTask) -> Prepared:
    lower_priority()
    return prepare(task)
