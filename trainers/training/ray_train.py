"""Runs `trainers.training.loop` on Ray: on one worker or on several, resuming after a death.

A worker that is lost, or its node, starts again and goes on from the newest checkpoint. So does the next run, if it was
the driver that was lost.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import ray

from divisions.artifacts.work_store import open_work_store
from divisions.clock import SystemClock
from divisions.errors import TrainingError
from divisions.progress import Progress
from trainers.training.capacity import Allotment
from trainers.training.checkpoints import Checkpoints
from trainers.training.compute import DeviceListener, EpochListener, not_told
from trainers.training.device_use import DeviceUse
from trainers.training.kinds import TrainedModel, restore
from trainers.training.loop import told_epochs
from trainers.training.ray_session import NODE_LABEL, this_node
from trainers.training.ray_single import run_single
from trainers.training.ray_worker import Job, RunLog, StoredTask
from trainers.training.resumption import abandoned, has_others, resume_note

MAX_FAILURES = 3
_POLL_S = 0.2


def train(
    task: StoredTask,
    allotment: Allotment,
    progress: Progress,
    on_epoch: EpochListener,
    on_device: DeviceListener = not_told,
    only_node: str = "",
) -> TrainedModel:
    """Trains on the cluster that this process is connected to, or goes on with what an interrupted run has left.

    Args:
        task: what to train.
        allotment: the workers, and what each of them gets.
        progress: takes notices.
        on_epoch: takes each epoch once, also those of the interrupted run.
        on_device: takes what it was trained on, unless an interrupted run has done all of it.
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
        with _forwarded(progress, on_epoch, on_device) as log:
            _fit(Job(task, checkpoints.folder, log, max(1, int(allotment.num_cpus))), allotment, progress, only_node)
        newest = checkpoints.newest()
        if newest is None or newest.epoch + 1 < num_epochs:
            raise TrainingError(
                "training ended without its last checkpoint", remedy="see the workers' logs on Ray's dashboard"
            )
        state = checkpoints.load(newest)
    else:
        state = checkpoints.load(newest)
        for epoch, metrics in told_epochs(state):
            on_epoch(epoch + 1, metrics)
    return restore(task.schema, task.hyperparams, state)


def _clean_up(checkpoints: Checkpoints) -> bool:
    """Removes what was abandoned; returns whether there are other runs' checkpoints."""
    store = checkpoints.store
    pipeline, _, own = checkpoints.folder.partition("/")
    files = store.listed(pipeline)
    for one in abandoned(files, own.partition("/")[0], SystemClock().wall_s()):
        store.remove_folder(f"{pipeline}/{one}")
    return has_others(files, own)


def _fit(job: Job, allotment: Allotment, progress: Progress, only_node: str) -> None:
    if allotment.count == 1:
        run_single(job, allotment, MAX_FAILURES, only_node, progress.notice)
        return
    from trainers.training.ray_group import run_group  # with Ray Train, which takes a second to import

    run_group(job, allotment, MAX_FAILURES, only_node)


@contextlib.contextmanager
def _forwarded(progress: Progress, on_epoch: EpochListener, on_device: DeviceListener) -> Iterator[Any]:
    """The handle of a `RunLog`. Passes on what workers tell it while the block waits for them. What is told again after
    a death is shown once.

    Raises:
        TrainingError: the one that a worker has told.
    """
    log: Any = ray.remote(RunLog).options(num_cpus=0, label_selector={NODE_LABEL: this_node()}).remote()
    is_over = threading.Event()
    shown: set[int | str] = set()
    index = 0

    def pass_on() -> None:
        nonlocal index
        for entry in ray.get(log.since.remote(index)):
            index += 1
            if isinstance(entry, DeviceUse):
                on_device(entry)
                continue
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
        yield log
    finally:
        is_over.set()
        watcher.join()
    pass_on()
    failure: TrainingError | None = ray.get(log.error.remote())
    if failure is not None:
        raise failure
