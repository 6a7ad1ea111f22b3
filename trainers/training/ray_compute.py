"""The heavy stages on a Ray cluster: data preparation as one task, training on workers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError, RayTaskError

from divisions.artifacts.work_store import open_work_store
from divisions.errors import ArtifactStoreError, DivisionsError, TrainingError
from divisions.pipeline.definition import ModelKind, Resources
from divisions.settings import Settings
from trainers.data.preparation import PreparationTask, Prepared, StoredRows
from trainers.data.working_folder import working_folder
from trainers.training import ray_session
from trainers.training.capacity import BYTES_PER_GB, Allotment, NodeCapacity
from trainers.training.compute import DeviceListener, EpochListener, SearchTask, TrainingTask, not_told
from trainers.training.ray_deaths import death_of, first_line
from trainers.training.ray_messages import RayMessages
from trainers.training.ray_preparation import Room, TaskResult, prepare_there, take_here
from trainers.training.training_rows import TrainingData, store_rows

MIN_CPUS = 0.5
"""For each process that reads, even if the stage has less."""

if TYPE_CHECKING:
    from trainers.training.kinds import TrainedModel
    from trainers.training.scoreboard import Scoreboard


class RayCompute:
    """Runs the stages on Ray. The process must be connected (`ray_session.connect`).

    Training rows and checkpoints are in the store of ``DIVISIONS_ARTIFACTS``, which all nodes reach. Without one they
    are in the home, and the stages stay on this node. ``messages`` shows notices, and keeps Ray's own texts.
    """

    def __init__(self, settings: Settings, messages: RayMessages) -> None:
        self._settings = settings
        self._messages = messages
        self._progress = messages.progress
        self._store = open_work_store(settings)
        self._told: set[str] = set()
        self._folder = ""

    def nodes(self) -> tuple[NodeCapacity, ...]:
        return ray_session.nodes()

    def prepare(self, pipeline: str, task: PreparationTask, resources: Resources) -> Prepared:
        only_node = self._only_node()
        allotment = self._acquire("data_prep", resources, 1, only_node)
        remote = ray.remote(prepare_there).options(
            num_cpus=allotment.num_cpus,
            num_gpus=allotment.num_gpus,
            memory=int(allotment.memory_gb * BYTES_PER_GB) or None,
            max_retries=2,
            name="divisions-data-prep",
            label_selector={ray_session.NODE_LABEL: only_node} if only_node else None,
        )
        try:
            result: TaskResult = ray.get(remote.remote(task, self._room(allotment), self._settings, pipeline))
        except RayTaskError as error:
            if isinstance(error.cause, DivisionsError):
                raise error.cause from None
            raise self._failed(error) from error
        except RayError as error:
            self._messages.keep(str(error))
            death = death_of(type(error).__name__, str(error))
            raise TrainingError(f"the data preparation has ended: {death.what}", remedy=death.remedy) from error
        return take_here(result, task, self._store, self._progress.notice)

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
        self,
        task: TrainingTask,
        resources: Resources,
        num_workers: int,
        on_epoch: EpochListener,
        on_device: DeviceListener = not_told,
    ) -> TrainedModel:
        # With PyTorch, which the preparation does not need.
        from trainers.training import ray_train
        from trainers.training.ray_worker import StoredTask

        only_node = self._only_node()
        allotment = self._acquire("training", self._used(resources, task), num_workers, only_node)
        stored = StoredTask(self._settings, task.schema, self._rows(task), task.hyperparams)
        self._folder = stored.folder(allotment)
        return ray_train.train(stored, allotment, self._progress, on_epoch, on_device, only_node)

    def search(self, task: SearchTask, resources: Resources, board: Scoreboard) -> None:
        from trainers.training import ray_search  # with Ray Tune, which takes seconds to import

        only_node, training = self._only_node(), task.training
        allotment = self._acquire("training", self._used(resources, training), 1, only_node)
        job = ray_search.SearchJob(
            self._settings,
            training.schema,
            self._rows(training),
            task.candidates,
            num_threads=max(1, int(allotment.num_cpus)),
            device="cuda:0" if allotment.num_gpus else "cpu",
        )
        places = ray_session.places(allotment, only_node)
        ray_search.search(job, ray_search.Room(allotment, places, only_node), task.budget_s, board, self._messages)

    def _used(self, resources: Resources, task: TrainingTask) -> Resources:
        if not resources.num_gpus or task.hyperparams.kind is not ModelKind.GRADIENT_BOOSTING:
            return resources
        self._tell_once(f"{task.hyperparams.kind} trains on CPUs: the GPU of training.resources stays free")
        return replace(resources, num_gpus=0.0, accelerator_type=None)

    def _rows(self, task: TrainingTask) -> StoredRows:
        """The rows in the store, where the preparation may have put them already."""
        if not isinstance(task.data, TrainingData):
            return task.data
        with working_folder() as folder:
            return store_rows(task.data, self._store, task.pipeline, folder / "rows")

    def finish(self) -> None:
        if not self._folder:
            return
        try:
            self._store.remove_folder(self._folder)
            rows, _, _ = self._folder.rpartition("/")
            if len(self._store.listed(rows)) <= 1:  # else another run learns from them, with other hyperparameters
                self._store.remove_folder(rows)
        except ArtifactStoreError as error:  # a later run of the pipeline removes it
            self._progress.notice(f"training rows and checkpoints stay in {self._store.name}: {error.message}")

    def _only_node(self) -> str:
        """This node, if no other one reaches the files of the stages; else empty."""
        num_nodes = len(self.nodes())
        if self._store.is_shared or num_nodes < 2:
            return ""
        self._tell_once(
            f"the cluster has {num_nodes} nodes, but DIVISIONS_ARTIFACTS names no bucket or folder that they reach:"
            " data preparation and training stay on this one"
        )
        return ray_session.this_node()

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

    def _acquire(self, stage: str, resources: Resources, count: int, only_node: str) -> Allotment:
        allotment = ray_session.acquire(stage, resources, count, only_node)
        for notice in allotment.notices:
            self._tell_once(notice)
        return allotment

    def _tell_once(self, notice: str) -> None:
        """A search and the training after it meet the same lack."""
        if notice not in self._told:
            self._told.add(notice)
            self._progress.notice(notice)
