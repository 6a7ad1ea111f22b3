"""Several workers, through Ray Train: placed on any nodes, sharing gradients by DDP, started again after a death.

Workers never report to Ray Train: each of its reports is a barrier for all workers, and it would copy checkpoints a
second time.
"""

from __future__ import annotations

from typing import Any

import ray
import ray.train
import ray.train.collective
import ray.train.torch
from ray.exceptions import RayError, RayTaskError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError
from torch import nn

from divisions.errors import TrainingError
from trainers.training import loop
from trainers.training.capacity import BYTES_PER_GB, Allotment
from trainers.training.checkpoints import CheckpointName
from trainers.training.interrupts import preserve_interrupt_handler
from trainers.training.ray_deaths import death_of, first_line
from trainers.training.ray_session import NODE_LABEL
from trainers.training.ray_worker import Job, Place, learn

MAX_FAILED_STARTS = 2
"""Ray gives a group of workers 60 s to start. So a run whose workers never get their resources ends after 3 minutes."""


def run_group(job: Job, allotment: Allotment, max_failures: int, only_node: str) -> None:
    """Blocks until all workers have ended.

    Raises:
        TrainingError: workers died more than ``max_failures`` times, or never got their resources.
    """
    resources: dict[str, float] = {"CPU": allotment.num_cpus}
    if allotment.num_gpus:
        resources["GPU"] = allotment.num_gpus
    if allotment.memory_gb:
        resources["memory"] = int(allotment.memory_gb * BYTES_PER_GB)
    # Ray Train wants a folder of its own on this node. With no reports, it keeps one empty file there.
    rays = job.task.settings.home / "training" / "ray"
    rays.mkdir(parents=True, exist_ok=True)
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=allotment.count,
            use_gpu=bool(allotment.num_gpus),
            resources_per_worker=resources,
            accelerator_type=allotment.accelerator_type,
            label_selector={NODE_LABEL: only_node} if only_node else None,
        ),
        run_config=RunConfig(
            name=job.task.rows.folder.partition("/")[0],
            storage_path=str(rays),
            failure_config=FailureConfig(max_failures=max_failures, controller_failure_limit=MAX_FAILED_STARTS),
        ),
    )
    try:
        with preserve_interrupt_handler():
            trainer.fit()
    except TrainingFailedError as error:
        raise TrainingError(
            f"training failed, started anew {max_failures} times at most: {_reason(error)}",
            remedy="see the workers' logs on Ray's dashboard; the same run, started again, goes on where it ended",
        ) from error


def _work(config: dict[str, Any]) -> None:
    """The function that each worker runs."""
    context = ray.train.get_context()
    shard = loop.Shard(context.get_world_rank(), context.get_world_size())
    learn(config["job"], Place(ray.train.torch.get_device(), shard, _agree, _wrap))


def _agree(newest: CheckpointName | None) -> CheckpointName | None:
    chosen: CheckpointName | None = ray.train.collective.broadcast_from_rank_zero(newest)
    return chosen


def _wrap(module: nn.Module) -> nn.Module:
    device = ray.train.torch.get_device()
    return nn.parallel.DistributedDataParallel(module, device_ids=[device] if device.type == "cuda" else None)


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
