"""The heavy stages on a Ray cluster: data preparation as one task, training through Ray Train."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError, RayTaskError

from divisions.errors import DivisionsError, TrainingError
from divisions.pipeline.definition import Distribution, Resources
from trainers.cluster_data.ray_workers import placed_workers
from trainers.cluster_data.reading import read_by_size
from trainers.data.preparation import PreparationTask, Prepared, prepare
from trainers.training import ray_session, ray_train
from trainers.training.capacity import BYTES_PER_GB, Allotment, NodeCapacity
from trainers.training.compute import EpochListener, TrainingTask
from trainers.training.priority import lower_priority
from trainers.training.ray_deaths import death_of, first_line
from trainers.training.ray_messages import RayMessages

MIN_CPUS = 0.5
"""For each process that reads, even if the stage has less."""

if TYPE_CHECKING:
    from trainers.training.model import TabularModel


class RayCompute:
    """Runs the stages on Ray. The process must be connected (`ray_session.connect`). ``storage`` is the folder for
    checkpoints. With workers on several nodes, all of them must share it. ``messages`` shows notices, and keeps Ray's
    own texts."""

    def __init__(self, storage: Path, messages: RayMessages) -> None:
        self._storage = storage
        self._messages = messages
        self._progress = messages.progress

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
            prepared: Prepared = ray.get(remote.remote(task, self._room(allotment)))
        except RayTaskError as error:
            if isinstance(error.cause, DivisionsError):
                raise error.cause from None
            raise self._failed(error) from error
        except RayError as error:
            self._messages.keep(str(error))
            death = death_of(type(error).__name__, str(error))
            raise TrainingError(f"the data preparation has ended: {death.what}", remedy=death.remedy) from error
        return prepared

    def _room(self, allotment: Allotment) -> Room:
        """What the other nodes could add, besides the task's own allotment."""
        free_cpus = ray.available_resources().get("CPU", 0.0) - allotment.num_cpus
        each = max(allotment.num_cpus, MIN_CPUS)
        return Room(
            num_nodes=len(self.nodes()),
            num_processes=int(free_cpus / each),
            num_cpus=each,
            memory_bytes=int(allotment.memory_gb * BYTES_PER_GB),
        )

    def train(
        self, task: TrainingTask, resources: Resources, num_workers: int, on_epoch: EpochListener
    ) -> TabularModel:
        allotment = self._acquire("training", resources, num_workers)
        return ray_train.train(task, allotment, self._storage, on_epoch)

    def _failed(self, error: RayTaskError) -> TrainingError:
        """An error that nobody foresaw, with Ray's traceback of it in the log."""
        self._messages.keep(str(error))
        kind, text = type(error.cause).__name__, first_line(str(error.cause))
        if isinstance(error.cause, RayError) and not isinstance(error.cause, RayTaskError):
            death = death_of(kind, str(error.cause))  # of a process that the task has started
            return TrainingError(f"the data preparation has ended: {death.what}", remedy=death.remedy)
        remedy = f"please report it with {self._messages.log}"
        if isinstance(error.cause, MemoryError):
            remedy = "give data_prep.resources more memory"
        return TrainingError(f"the data preparation failed: {kind}{f': {text}' if text else ''}", remedy=remedy)

    def _acquire(self, stage: str, resources: Resources, count: int) -> Allotment:
        allotment = ray_session.acquire(stage, resources, count)
        for notice in allotment.notices:
            self._progress.notice(notice)
        return allotment


@dataclass(frozen=True, slots=True)
class Room:
    """Where an input that is too large for one node can be read: ``num_processes`` of these resources, about."""

    num_nodes: int
    num_processes: int
    num_cpus: float
    memory_bytes: int


def _prepare(task: PreparationTask, room: Room) -> Prepared:
    lower_priority()
    if room.num_nodes < 2 and task.distributed is not Distribution.ALWAYS:
        return prepare(task)
    place = partial(placed_workers, room.num_processes, room.num_cpus, room.memory_bytes, lower_priority)
    return prepare(task, partial(read_by_size, place=place, num_nodes=room.num_nodes, wanted=task.distributed))
