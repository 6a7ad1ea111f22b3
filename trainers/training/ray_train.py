"""Runs `trainers.training.loop` under Ray Train: workers, DDP, checkpoints, and resuming after a worker's death.

The rows are one object in the object store. Workers send each epoch to the driver through a small actor. States are
checkpoints in the storage folder. In Ray Train v2, a report without a checkpoint leaves no metrics in the result, and
each report is a barrier for all workers. So workers report only checkpoints, and progress goes through the actor.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.exceptions import RayError, RayTaskError
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError
from torch import nn

from divisions.errors import TrainingError
from trainers.training import loop
from trainers.training.capacity import BYTES_PER_GB, Allotment
from trainers.training.compute import EpochListener, TrainingTask
from trainers.training.interrupts import preserve_interrupt_handler
from trainers.training.model import TabularModel, build_model, use_threads
from trainers.training.priority import lower_priority
from trainers.training.ray_deaths import death_of, first_line

STATE_FILE = "state.pt"
NUM_CHECKPOINTS = 10
"""Checkpoints per run. A dead worker costs at most a tenth of the run."""

MAX_FAILURES = 3
MAX_FAILED_STARTS = 2
"""Ray gives a group of workers 60 s to start. So a run whose workers never get their resources ends after 3 minutes."""

_POLL_S = 0.2


class EpochLog:
    """Reports from workers to the driver. It is an actor, because it must outlive the workers."""

    def __init__(self) -> None:
        self._epochs: list[tuple[int, dict[str, float]]] = []
        self._error: TrainingError | None = None

    def append(self, epoch: int, metrics: dict[str, float]) -> None:
        self._epochs.append((epoch, metrics))

    def fail(self, error: TrainingError) -> None:
        self._error = error

    def since(self, index: int) -> list[tuple[int, dict[str, float]]]:
        return self._epochs[index:]

    def error(self) -> TrainingError | None:
        return self._error


def train(task: TrainingTask, allotment: Allotment, storage: Path, on_epoch: EpochListener) -> TabularModel:
    """Trains on the cluster that this process is connected to.

    Raises:
        TrainingError: training diverged, or workers died more than `MAX_FAILURES` times.
    """
    name = f"train-{uuid.uuid4().hex[:12]}"
    log: Any = ray.remote(EpochLog).options(num_cpus=0).remote()
    resources: dict[str, float] = {"CPU": allotment.num_cpus}
    if allotment.num_gpus:
        resources["GPU"] = allotment.num_gpus
    if allotment.memory_gb:
        resources["memory"] = int(allotment.memory_gb * BYTES_PER_GB)
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"task": ray.put(task), "log": log, "num_threads": max(1, int(allotment.num_cpus))},
        scaling_config=ScalingConfig(
            num_workers=allotment.count,
            use_gpu=bool(allotment.num_gpus),
            resources_per_worker=resources,
            accelerator_type=allotment.accelerator_type,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=MAX_FAILURES, controller_failure_limit=MAX_FAILED_STARTS),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    storage.mkdir(parents=True, exist_ok=True)
    try:
        with preserve_interrupt_handler(), _forward_epochs(log, on_epoch):
            result = trainer.fit()
    except TrainingFailedError as error:
        raise TrainingError(
            f"training failed, started anew {MAX_FAILURES} times at most: {_reason(error)}",
            remedy=f"see the workers' logs on Ray's dashboard; checkpoints are in {storage / name}",
        ) from error
    if (failure := ray.get(log.error.remote())) is not None:
        raise failure
    if result.checkpoint is None:
        raise TrainingError("training ended without a checkpoint", remedy="see the workers' logs on Ray's dashboard")
    model = build_model(task.schema, task.data.train_rows_NF, task.hyperparams)
    model.load_state_dict(_load_state(result.checkpoint)["best_weights"])
    shutil.rmtree(storage / name, ignore_errors=True)  # the bundle keeps the weights; failed runs keep their folder
    return model


def _work(config: dict[str, Any]) -> None:
    """The function that each worker runs."""
    lower_priority()
    use_threads(config["num_threads"])
    task: TrainingTask = ray.get(config["task"])
    context = ray.train.get_context()
    shard = loop.Shard(context.get_world_rank(), context.get_world_size())
    every = max(1, task.hyperparams.epochs // NUM_CHECKPOINTS)

    def report(epoch: int, metrics: dict[str, float], state: loop.State) -> None:
        if shard.rank == 0:
            config["log"].append.remote(epoch, metrics)
        if (epoch + 1) % every and epoch + 1 < task.hyperparams.epochs:
            return
        if shard.rank:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, Path(folder) / STATE_FILE)
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))

    checkpoint = ray.train.get_checkpoint()
    try:
        loop.train(
            build_model(task.schema, task.data.train_rows_NF, task.hyperparams),
            task.data,
            task.hyperparams,
            report,
            device=ray.train.torch.get_device(),
            shard=shard,
            wrap=_wrap if shard.world_size > 1 else None,
            resume_from=_load_state(checkpoint) if checkpoint else None,
        )
    except TrainingError as error:
        # A diverging training would diverge again. It must not look like a dead worker, which Ray restarts.
        ray.get(config["log"].fail.remote(error))


def _wrap(module: nn.Module) -> nn.Module:
    device = ray.train.torch.get_device()
    return nn.parallel.DistributedDataParallel(module, device_ids=[device] if device.type == "cuda" else None)


def _load_state(checkpoint: Checkpoint) -> loop.State:
    with checkpoint.as_directory() as folder:
        state: loop.State = torch.load(Path(folder) / STATE_FILE, map_location="cpu", weights_only=True)
    return state


@contextlib.contextmanager
def _forward_epochs(log: Any, on_epoch: EpochListener) -> Iterator[None]:
    """Passes epochs to the listener while `fit` blocks. An epoch that was repeated after a worker's death is shown
    once."""
    is_over = threading.Event()
    shown: set[int] = set()
    index = 0

    def pass_on() -> None:
        nonlocal index
        for epoch, metrics in ray.get(log.since.remote(index)):
            index += 1
            if epoch not in shown:
                shown.add(epoch)
                on_epoch(epoch + 1, metrics)

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
