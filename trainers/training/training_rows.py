"""Training rows as one file: written where they are made, mapped into memory where they are learned from.

Workers read the file from the store, once per node. Nothing goes through the driver. The file is an array of NumPy's,
``float32[N, F + 1]``: rows to learn from, then rows that select the best epoch; the label is the last column.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from divisions.artifacts.work_store import WorkStore
from divisions.errors import TrainingError
from trainers.data.full_disks import full_disk_told
from trainers.data.preparation import Prepared, StoredRows, validation_mask

log = logging.getLogger(__name__)

FILE = "rows.npy"
_CHUNK_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows to learn from, and rows that select the best epoch. Neither may contain a row of the hold-out."""

    train_rows_NF: NDArray[np.float32]
    train_labels_N: NDArray[np.float32]
    valid_rows_NF: NDArray[np.float32]
    valid_labels_N: NDArray[np.float32]


def training_data(prepared: Prepared, seed: int) -> TrainingData:
    """The rows of a run's training customers; a tenth of them selects the best epoch."""
    table = prepared.train
    is_validation_N = validation_mask(table, seed)
    return TrainingData(
        train_rows_NF=table.x[~is_validation_N],
        train_labels_N=table.y[~is_validation_N],
        valid_rows_NF=table.x[is_validation_N],
        valid_labels_N=table.y[is_validation_N],
    )


def validation_rows(prepared: Prepared, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The rows and labels that select the best epoch. They also calibrate the model and set its threshold."""
    is_validation_N = validation_mask(prepared.train, seed)
    return prepared.train.x[is_validation_N], prepared.train.y[is_validation_N]


def num_train(rows: TrainingData | StoredRows) -> int:
    """How many rows are learned from."""
    return rows.num_train if isinstance(rows, StoredRows) else len(rows.train_rows_NF)


def write_rows(data: TrainingData, path: Path) -> str:
    """Writes the file; returns its SHA-256."""
    num_train, num_columns = data.train_rows_NF.shape
    shape = (num_train + len(data.valid_rows_NF), num_columns + 1)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    with path.open("r+b") as file:
        # A full disk is an error here. Once a page is written that has no place, it is SIGBUS, which ends the process.
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    first = 0
    for rows_NF, labels_N in (
        (data.train_rows_NF, data.train_labels_N),
        (data.valid_rows_NF, data.valid_labels_N),
    ):
        for start in range(0, len(rows_NF), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            end = first + len(rows_NF[part])
            rows[first:end, :-1], rows[first:end, -1] = rows_NF[part], labels_N[part]
            first = end
    rows.flush()
    del rows
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_rows(path: Path, num_train: int) -> TrainingData:
    """The rows of a file. They stay on the disk; pages that are used are shared by all workers of a node."""
    rows = np.load(path, mmap_mode="c", allow_pickle=False)  # "c": PyTorch wants arrays that it could write to
    return TrainingData(
        train_rows_NF=rows[:num_train, :-1],
        train_labels_N=np.ascontiguousarray(rows[:num_train, -1]),
        valid_rows_NF=rows[num_train:, :-1],
        valid_labels_N=np.ascontiguousarray(rows[num_train:, -1]),
    )


def store_rows(data: TrainingData, store: WorkStore, pipeline: str, draft: Path) -> StoredRows:
    """Writes the rows into a folder of the store that is named by their content. ``draft`` is a file for a while.

    Raises:
        ArtifactStoreError: the store does not answer, or refuses.
        InputError: the disk of the draft is full.
    """
    with full_disk_told("writing training rows", draft.parent):
        sha256 = write_rows(data, draft)
    stored = StoredRows(f"{pipeline}/{sha256[:16]}", sha256, len(data.train_rows_NF))
    # Again, if an earlier run has left it: that file may be there in part.
    store.put(stored.folder, FILE, draft)
    return stored


@contextlib.contextmanager
def fetched_rows(stored: StoredRows, store: WorkStore, cache: Path) -> Iterator[TrainingData]:
    """The rows, on this machine's disk. Processes of one machine fetch them once. Gone when nobody uses them any more.

    Args:
        cache: a folder of this machine. What killed processes have left in it goes, too.

    Raises:
        ArtifactStoreError: the store does not answer, or refuses.
        TrainingError: the rows are not there, or not as they were written.
    """
    if (here := store.local_path(stored.folder, FILE)) is not None:
        if not here.is_file():
            raise _missing(stored, store)
        yield open_rows(here, stored.num_train)
        return
    path = cache / f"{stored.sha256}.npy"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _in_use(path):
            _remove_unused(cache)
            _fetch_once(stored, store, path)
            yield open_rows(path, stored.num_train)
        _remove_unused(cache)
    except OSError as error:
        raise TrainingError(
            f"training rows cannot be written into {cache}: {error.strerror or error}",
            remedy="check that disk's space and permissions",
        ) from None


def _fetch_once(stored: StoredRows, store: WorkStore, path: Path) -> None:
    draft = path.with_suffix(".draft")
    with path.with_suffix(".fetch").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if path.exists():
            return
        found = store.fetch(stored.folder, FILE, draft)
        if not found:
            raise _missing(stored, store)
        if found != stored.sha256:
            draft.unlink()
            raise TrainingError(
                f"the training rows in {store.name} are not as they were written", remedy="run the pipeline again"
            )
        draft.rename(path)
        log.info("training rows %s were fetched from %s", stored.sha256[:16], store.name)


@contextlib.contextmanager
def _in_use(path: Path) -> Iterator[None]:
    """While the block runs, no process of this machine removes the file. The kernel ends it with the process."""
    lock_path = path.with_suffix(".lock")
    while True:
        with lock_path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_same(lock_path, lock.fileno()):  # else another process has just removed it
                yield
                return


def _remove_unused(cache: Path) -> None:
    for lock_path in cache.glob("*.lock"):
        with contextlib.suppress(OSError), lock_path.open("r+") as lock:  # in use, or another process removes it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for suffix in (".npy", ".draft", ".fetch", ".lock"):
                lock_path.with_suffix(suffix).unlink(missing_ok=True)


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _missing(stored: StoredRows, store: WorkStore) -> TrainingError:
    return TrainingError(
        f"{store.name} has no training rows {stored.sha256[:16]}",
        remedy="set DIVISIONS_ARTIFACTS to a bucket or folder that all nodes reach, and run again",
    )
