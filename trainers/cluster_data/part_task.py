"""Reads one part of an input: stages it as one machine would, and leaves its rows on the disk, by bucket."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from trainers.cluster_data.blocks import Block, StagedPart, read_blocks, staged_part, write_rows
from trainers.cluster_data.reading import PartTask
from trainers.data.csv_ranges import NotPlainError
from trainers.data.staged_input import Files, read_staged
from trainers.data.staging import Staging
from trainers.data.working_folder import working_folder


def read_part(task: PartTask) -> Iterator[Block | StagedPart]:
    """Reads a part, and gives the block of each bucket, then its description.

    Raises:
        InputError: see `trainers.data.ingest.read_events`.
    """
    with working_folder() as folder:
        rows = folder / "rows"
        rows.mkdir()
        part = _stage(task, rows)
        yield from read_blocks(rows, task.num_buckets)
    yield part


def _stage(task: PartTask, folder: Path) -> StagedPart:
    try:
        return _read(task, folder)
    except NotPlainError:
        return StagedPart((), is_refused=True)


def _read(task: PartTask, folder: Path) -> StagedPart:
    return read_staged(
        task.uri,
        s3=task.s3,
        allow_buckets=task.allow_buckets,
        form=task.form,
        limits=task.limits,
        use=partial(_use, task, folder),
        files=Files(task.paths, frozenset(task.part.indices), task.part.lines),
    )


def _use(task: PartTask, folder: Path, staging: Staging) -> StagedPart:
    write_rows(staging, task.part, task.entity, task.num_buckets, folder)
    return staged_part(staging, task.part)
