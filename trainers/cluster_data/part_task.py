"""Reads one part of an input: stages it as one machine would, and leaves its rows on the disk, by bucket."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from trainers.cluster_data.blocks import StagedPart, staged_part, write_rows
from trainers.cluster_data.reading import PartTask
from trainers.data.staged_input import Files, read_staged
from trainers.data.staging import Staging


def read_part(task: PartTask, folder: Path) -> StagedPart:
    """Reads a part, and writes its rows into a folder (see `trainers.cluster_data.blocks.read_blocks`).

    Raises:
        InputError: see `trainers.data.ingest.read_events`.
    """
    return read_staged(
        task.uri,
        s3=task.s3,
        allow_buckets=task.allow_buckets,
        form=task.form,
        limits=task.limits,
        use=partial(_use, task, folder),
        files=Files(task.paths, frozenset(task.part.indices)),
    )


def _use(task: PartTask, folder: Path, staging: Staging) -> StagedPart:
    write_rows(staging, task.part, task.entity, task.num_buckets, folder)
    return staged_part(staging, task.part)
