"""One worker: a task of Ray, started again after a death.

Ray Train starts a controller, a placement group and a worker with a process group before the first epoch. One worker
needs none of these, and they took longer than most trainings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from divisions.errors import TrainingError
from trainers.cluster_data.cancellation import cancel_unfinished
from trainers.training.capacity import BYTES_PER_GB, Allotment
from trainers.training.ray_deaths import Death, death_of, first_line
from trainers.training.ray_session import NODE_LABEL
from trainers.training.ray_worker import Job, Place, learn

WORKER_NAME = "divisions-training"
"""Ray names the task's process by it."""

START_S = 180.0
"""How long the task may wait for its resources, which were free a moment before."""


def run_single(
    job: Job, allotment: Allotment, max_failures: int, only_node: str, notice: Callable[[str], None]
) -> None:
    """Blocks until the worker has ended.

    Raises:
        TrainingError: it died more than ``max_failures`` times, or never got its resources.
    """
    # The process ends with the task: it keeps its low priority, and PyTorch.
    remote = ray.remote(max_calls=1)(_work).options(
        num_cpus=allotment.num_cpus,
        num_gpus=allotment.num_gpus,
        memory=int(allotment.memory_gb * BYTES_PER_GB) or None,
        accelerator_type=allotment.accelerator_type,
        label_selector={NODE_LABEL: only_node} if only_node else None,
        max_retries=0,  # Ray's own retries after a lack of memory have no end, and say nothing of ours.
        name=WORKER_NAME,
    )
    for attempt in range(max_failures + 1):
        result = remote.remote(job, bool(allotment.num_gpus))
        try:
            _await(result, job.log, attempt, allotment)
        except RayError as error:
            death = _death(error)
            if attempt == max_failures:
                raise TrainingError(
                    f"training failed, started anew {max_failures} times: {death.what}",
                    remedy=f"{death.remedy}; the same run, started again, goes on where it ended",
                ) from error
            notice(f"training starts again, {attempt + 1} of at most {max_failures} times: {death.what}")
        except BaseException:  # Ctrl-C, or no resources
            cancel_unfinished([result])
            raise
        else:
            return


def _await(result: Any, log: Any, attempt: int, allotment: Allotment) -> None:
    done, _ = ray.wait([result], timeout=START_S)
    if not done and ray.get(log.num_begun.remote()) <= attempt:
        raise TrainingError(
            f"no node had {allotment.num_cpus:g} CPUs and {allotment.num_gpus:g} GPUs free for {START_S:.0f} s",
            remedy="run again when other work has ended, or lower training.resources",
        )
    ray.get(result)


def _work(job: Job, has_gpu: bool) -> None:
    ray.get(job.log.begin.remote())
    learn(job, Place(torch.device("cuda:0" if has_gpu else "cpu")))


def _death(error: RayError) -> Death:
    if isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
        kind, text = type(error.cause).__name__, first_line(str(error.cause))
        return Death(f"the worker failed: {kind}: {text}", "see its log on Ray's dashboard")
    return death_of(type(error).__name__, str(error))
