"""The data preparation as a task on some node: what it makes goes into the store of the run, or stays on this machine.

    task, on a node      raw events -> tables -> training rows  ─┐
                                               └> other tables  ─┼─► the store ──► workers: the training rows
                                                                 └──────────────► the run: the other tables

Without a store that all nodes reach, the task runs on the node of the run, and its result comes through Ray's memory of
that machine.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from divisions.artifacts.work_store import WorkStore, open_work_store
from divisions.errors import ArtifactStoreError, TrainingError
from divisions.pipeline.definition import Distribution
from divisions.settings import PRIVATE_UMASK, Settings
from trainers.cluster_data.ray_workers import placed_workers
from trainers.cluster_data.reading import read_by_size
from trainers.data.full_disks import full_disk_told
from trainers.data.newest_rows import NewestRows
from trainers.data.preparation import PreparationTask, Prepared, prepare
from trainers.data.prepared_files import NEWEST, QUARANTINE, hashes, read_prepared, write_prepared
from trainers.data.quarantine import Quarantine
from trainers.data.working_folder import working_folder
from trainers.training.priority import lower_priority
from trainers.training.training_rows import store_rows, training_data


@dataclass(frozen=True, slots=True)
class Room:
    """Where an input that is too large for one node can be read: ``num_processes`` of these resources, about."""

    num_nodes: int
    num_processes: int
    num_cpus: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What the task has made. ``folder`` of the store has the tables that ``prepared`` lacks, each with its SHA-256;
    without a ``folder``, it has them all."""

    prepared: Prepared
    folder: str = ""
    sha256: Mapping[str, str] | None = None


def prepare_there(task: PreparationTask, room: Room, settings: Settings, pipeline: str) -> TaskResult:
    """Runs on any node."""
    lower_priority()
    os.umask(PRIVATE_UMASK)
    store = open_work_store(settings)
    with working_folder() as folder:
        if not store.is_shared:
            prepared = _prepare(task, room)
            rows = store_rows(training_data(prepared, task.seed), store, pipeline, folder / "rows")
            return TaskResult(replace(prepared, rows=rows))
        files = folder / "files"
        files.mkdir()
        reading = task.reading
        if reading.newest is not None:
            reading = replace(reading, newest=files / NEWEST)
        reading = replace(reading, quarantine=files / QUARANTINE)
        prepared = _prepare(replace(task, reading=reading), room)
        rows = store_rows(training_data(prepared, task.seed), store, pipeline, folder / "rows")
        with full_disk_told("writing prepared rows", folder):
            rest = write_prepared(replace(prepared, rows=rows), files)
        result = TaskResult(rest, f"{pipeline}/prepared-{uuid.uuid4().hex[:16]}", hashes(files))
        for path in files.iterdir():
            store.put(result.folder, path.name, path)
        return result


def take_here(result: TaskResult, task: PreparationTask, store: WorkStore, notice: Callable[[str], None]) -> Prepared:
    """The prepared data in the process of the run. The newest rows, and those that cannot be used, are then where
    ``task`` wants them.

    Raises:
        ArtifactStoreError: the store does not answer, or refuses.
        TrainingError: a file is not as it was written.
    """
    if result.sha256 is None:
        return result.prepared
    wanted = {NEWEST: task.reading.newest, QUARANTINE: task.reading.quarantine}
    with working_folder() as folder:
        for name, sha256 in result.sha256.items():
            place = wanted.get(name) or folder / name
            with full_disk_told("fetching prepared rows", place.parent):
                place.parent.mkdir(parents=True, exist_ok=True)
                found = store.fetch(result.folder, name, place)
            if found != sha256:
                raise TrainingError(
                    f"{name} of the prepared data in {store.name} is not as it was written",
                    remedy="run the pipeline again",
                )
        prepared = read_prepared(result.prepared, folder)
    try:
        store.remove_folder(result.folder)
    except ArtifactStoreError as error:  # the next run of the pipeline removes it
        notice(f"the prepared data was not removed from {store.name}: {error.message}")
    newest = prepared.events.newest
    if newest is not None and task.reading.newest is not None:
        newest = NewestRows(task.reading.newest, newest.columns)
    unusable = prepared.events.unusable
    if unusable.reasons and task.reading.quarantine is not None:
        unusable = Quarantine(unusable.reasons, task.reading.quarantine)
    return replace(prepared, events=replace(prepared.events, newest=newest, unusable=unusable))


def _prepare(task: PreparationTask, room: Room) -> Prepared:
    if room.num_nodes < 2 and task.distributed is not Distribution.ALWAYS:
        return prepare(task)
    place = partial(placed_workers, room.num_processes, room.num_cpus, room.memory_bytes, lower_priority)
    return prepare(task, partial(read_by_size, place=place, num_nodes=room.num_nodes, wanted=task.distributed))
