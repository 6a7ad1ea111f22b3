"""Runs `trainers.training.loop` under Ray Train: workers on any nodes, DDP, and resuming after a death.

Rows and checkpoints are files of the store that all nodes reach (`divisions.artifacts.work_store`); they do not pass
through the driver. Ray Train places the workers, and starts the group again when one of them, or a node, is lost. The
new group goes on from the newest checkpoint. So does the next run, if it was the driver that was lost.

Workers tell each epoch to the driver through a small actor, and never report to Ray Train: each of its reports is a
barrier for all workers, and it would copy checkpoints a second time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import ray.train
import ray.train.collective
import ray.train.torch
import torch
from ray.exceptions import RayError, RayTaskError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError
from torch import nn

import divisions
from divisions.artifacts.work_store import open_work_store
from divisions.clock import SystemClock
from divisions.errors import ArtifactStoreError, TrainingError
from divisions.pipeline.definition import Hyperparams
from divisions.progress import Progress
from divisions.schema import FeatureSchema
from divisions.settings import PRIVATE_UMASK, Settings, node_home
from trainers.data.preparation import StoredRows
from trainers.training import loop
from trainers.training.capacity import BYTES_PER_GB, Allotment
from trainers.training.checkpoints import CheckpointName, Checkpoints, is_due
from trainers.training.compute import EpochListener
from trainers.training.interrupts import preserve_interrupt_handler
from trainers.training.model import TabularModel, build_model, use_threads
from trainers.training.priority import lower_priority
from trainers.training.ray_deaths import death_of, first_line
from trainers.training.ray_session import NODE_LABEL, this_node
from trainers.training.resumption import abandoned, has_others, resume_note, training_key
from trainers.training.training_rows import fetched_rows

MAX_FAILURES = 3
MAX_FAILED_STARTS = 2
"""Ray gives a group of workers 60 s to start. So a run whose workers never get their resources ends after 3 minutes."""

LAST_CHECKPOINT_S = 60.0
"""How long the last checkpoint is tried to be written. One before it may be lost; the last one holds the weights."""
_PAUSE_S = 2.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class StoredTask:
    """What to train: as `trainers.training.compute.TrainingTask`, with the rows in the store of these settings."""

    settings: Settings
    schema: FeatureSchema
    rows: StoredRows
    hyperparams: Hyperparams

    def folder(self, allotment: Allotment) -> str:
        """Where the checkpoints are that this training may go on from."""
        device = "cuda" if allotment.num_gpus else "cpu"
        versions = (divisions.__version__, str(torch.__version__))
        key = training_key(self.schema.sha256, self.hyperparams, allotment.count, device, versions)
        return f"{self.rows.folder}/{key}"


@dataclass(frozen=True, slots=True)
class EpochDone:
    """``epoch`` counts from 0."""

    epoch: int
    metrics: dict[str, float]


class RunLog:
    """What workers tell the driver. It is an actor, because it must outlive the workers."""

    def __init__(self) -> None:
        self._entries: list[EpochDone | str] = []
        self._error: TrainingError | None = None

    def add(self, entry: EpochDone | str) -> None:
        self._entries.append(entry)

    def fail(self, error: TrainingError) -> None:
        self._error = error

    def since(self, index: int) -> list[EpochDone | str]:
        return self._entries[index:]

    def error(self) -> TrainingError | None:
        return self._error


def train(
    task: StoredTask, allotment: Allotment, progress: Progress, on_epoch: EpochListener, only_node: str = ""
) -> TabularModel:
    """Trains on the cluster that this process is connected to, or goes on with what an interrupted run has left.

    Args:
        task: what to train.
        allotment: the workers, and what each of them gets.
        progress: takes notices.
        on_epoch: takes each epoch once, also those of the interrupted run.
        only_node: the only node that workers may be on; empty means any.

    Raises:
        TrainingError: training diverged, or workers died more than `MAX_FAILURES` times.
        ArtifactStoreError: the store does not answer, or refuses.
    """
    store, num_epochs = open_work_store(task.settings), task.hyperparams.epochs
    checkpoints = Checkpoints(store, task.folder(allotment))
    others = _clean_up(checkpoints)
    newest = checkpoints.newest()
    if note := resume_note(newest, num_epochs, others=others):
        progress.notice(note)
    if newest is None or newest.epoch + 1 < num_epochs:
        _fit(task, checkpoints.folder, allotment, progress, on_epoch, only_node)
        newest = checkpoints.newest()
        if newest is None or newest.epoch + 1 < num_epochs:
            raise TrainingError(
                "training ended without its last checkpoint", remedy="see the workers' logs on Ray's dashboard"
            )
        state = checkpoints.load(newest)
    else:
        state = checkpoints.load(newest)
        for epoch, metrics in enumerate(state["history"]):
            on_epoch(epoch + 1, metrics)
    # The statistics of the rows are in the weights, so any rows will do.
    model = build_model(task.schema, np.zeros((1, task.schema.num_columns), np.float32), task.hyperparams)
    model.load_state_dict(state["best_weights"])
    return model


def _clean_up(checkpoints: Checkpoints) -> bool:
    """Removes what was abandoned; returns whether there are other runs' checkpoints."""
    store = checkpoints.store
    pipeline, _, own = checkpoints.folder.partition("/")
    files = store.listed(pipeline)
    for one in abandoned(files, own.partition("/")[0], SystemClock().wall_s()):
        store.remove_folder(f"{pipeline}/{one}")
    return has_others(files, own)


def _fit(
    task: StoredTask, folder: str, allotment: Allotment, progress: Progress, on_epoch: EpochListener, only_node: str
) -> None:
    here = {NODE_LABEL: this_node()}
    log: Any = ray.remote(RunLog).options(num_cpus=0, label_selector=here).remote()
    resources: dict[str, float] = {"CPU": allotment.num_cpus}
    if allotment.num_gpus:
        resources["GPU"] = allotment.num_gpus
    if allotment.memory_gb:
        resources["memory"] = int(allotment.memory_gb * BYTES_PER_GB)
    # Ray Train wants a folder of its own on this node. With no reports, it keeps one empty file there.
    rays = task.settings.home / "training" / "ray"
    rays.mkdir(parents=True, exist_ok=True)
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"task": task, "folder": folder, "log": log, "num_threads": max(1, int(allotment.num_cpus))},
        scaling_config=ScalingConfig(
            num_workers=allotment.count,
            use_gpu=bool(allotment.num_gpus),
            resources_per_worker=resources,
            accelerator_type=allotment.accelerator_type,
            label_selector={NODE_LABEL: only_node} if only_node else None,
        ),
        run_config=RunConfig(
            name=task.rows.folder.partition("/")[0],
            storage_path=str(rays),
            failure_config=FailureConfig(max_failures=MAX_FAILURES, controller_failure_limit=MAX_FAILED_STARTS),
        ),
    )
    try:
        with preserve_interrupt_handler(), _forward(log, progress, on_epoch):
            trainer.fit()
    except TrainingFailedError as error:
        raise TrainingError(
            f"training failed, started anew {MAX_FAILURES} times at most: {_reason(error)}",
            remedy="see the workers' logs on Ray's dashboard; the same run, started again, goes on where it ended",
        ) from error
    failure: TrainingError | None = ray.get(log.error.remote())
    if failure is not None:
        raise failure


def _work(config: dict[str, Any]) -> None:
    """The function that each worker runs."""
    lower_priority()
    os.umask(PRIVATE_UMASK)
    use_threads(config["num_threads"])
    task: StoredTask = config["task"]
    log = config["log"]
    context = ray.train.get_context()
    shard = loop.Shard(context.get_world_rank(), context.get_world_size())
    store = open_work_store(task.settings)
    checkpoints = Checkpoints(store, config["folder"])
    try:
        with fetched_rows(task.rows, store, node_home(task.settings.home) / "training" / "rows") as data:
            newest = _agree(checkpoints.newest() if shard.rank == 0 else None, shard)
            state = checkpoints.load(newest) if newest is not None else None
            if shard.rank == 0 and state is not None:
                for epoch, metrics in enumerate(state["history"]):
                    log.add.remote(EpochDone(epoch, metrics))
            loop.train(
                build_model(task.schema, data.train_rows_NF, task.hyperparams),
                data,
                task.hyperparams,
                _reporter(task, checkpoints, log) if shard.rank == 0 else lambda *_: None,
                device=ray.train.torch.get_device(),
                shard=shard,
                wrap=_wrap if shard.world_size > 1 else None,
                resume_from=state,
            )
    except TrainingError as error:
        # A diverging training would diverge again. It must not look like a dead worker, which Ray restarts.
        ray.get(log.fail.remote(error))
    ray.get(log.error.remote())  # All that was told before has arrived.


def _agree(newest: CheckpointName | None, shard: loop.Shard) -> CheckpointName | None:
    """The checkpoint that rank 0 has chosen. Ranks that choose for themselves might go on from different ones."""
    if shard.world_size == 1:
        return newest
    chosen: CheckpointName | None = ray.train.collective.broadcast_from_rank_zero(newest)
    return chosen


def _reporter(task: StoredTask, checkpoints: Checkpoints, log: Any) -> loop.Report:
    def report(epoch: int, metrics: dict[str, float], state: loop.State) -> None:
        log.add.remote(EpochDone(epoch, metrics))
        if not is_due(epoch, task.hyperparams.epochs):
            return
        is_last = epoch + 1 == task.hyperparams.epochs
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


def _wrap(module: nn.Module) -> nn.Module:
    device = ray.train.torch.get_device()
    return nn.parallel.DistributedDataParallel(module, device_ids=[device] if device.type == "cuda" else None)


@contextlib.contextmanager
def _forward(log: Any, progress: Progress, on_epoch: EpochListener) -> Iterator[None]:
    """Passes on what workers tell while `fit` blocks. What is told again after a death is shown once."""
    is_over = threading.Event()
    shown: set[int | str] = set()
    index = 0

    def pass_on() -> None:
        nonlocal index
        for entry in ray.get(log.since.remote(index)):
            index += 1
            name = entry if isinstance(entry, str) else entry.epoch
            if name in shown:
                continue
            shown.add(name)
            if isinstance(entry, str):
                progress.notice(entry)
            else:
                on_epoch(entry.epoch + 1, entry.metrics)

    def watch() -> None:
        while not is_over.wait(_POLL_S):
            pass_on()

    watcher = threading.Thread(target=watch, name="epochs", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
    pass_on()


def _reason(error: TrainingFailedError) -> str:
    """One line for each worker's error. Ray's own message starts with a heading and a traceback."""
    match error:
        case WorkerGroupError():
            causes: list[BaseException] = list(error.worker_failures.values())
        case ControllerError():
            causes = [error.controller_failure]
        case _:
            causes = [error]
    return "; ".join(dict.fromkeys(map(_line, causes[:3])))


def _line(cause: BaseException) -> str:
    if isinstance(cause, RayError) and not isinstance(cause, RayTaskError):
        return str(death_of(type(cause).__name__, str(cause)))
    return f"{type(cause).__name__}: {first_line(str(cause))}"
