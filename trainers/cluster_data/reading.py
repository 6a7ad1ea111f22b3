"""Reads an input over the nodes of a cluster: the same rows as one machine, by the same SQL.

    files ──cut──► parts ──read, by tasks──► blocks by hash(entity) ──► buckets: judge, pick (the same `RowChecks`)
                                                │                           ▲                │
                                                └──► the driving process: kinds, notes, ─────┘ chosen rows, quarantine
                                                     refusals (the same `ingest.events_of`)

Everything that is decided per row or per entity is decided in its bucket. What is decided about whole columns (kinds,
spellings, the order of day and month) is decided by the process that drives, over all blocks, which it has on its disk.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from divisions.errors import InputError
from divisions.pipeline.definition import DataFormat, Distribution
from trainers.cluster_data.blocks import (
    Block,
    Gathered,
    StagedPart,
    create_views,
    gather_groups,
    part_notes,
    write_block,
)
from trainers.cluster_data.choice import Choice, InputFile, Part, choose_nodes, cut
from trainers.cluster_data.cluster_checks import Buckets, ClusterChecks
from trainers.data.csv_ranges import can_be_cut
from trainers.data.csv_rows import open_csv
from trainers.data.engine import Limits, open_engine
from trainers.data.file_formats import FileKind, inspect_file
from trainers.data.ingest import ALL_EVENTS, RawEvents, Reading, events_of, read_events
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds
from trainers.data.locations import Location, locate, raise_unreachable, signed_if_refused
from trainers.data.raw_columns import MISSING_WORDS
from trainers.data.staged_input import data_files
from trainers.data.staging import Staging

if TYPE_CHECKING:
    from divisions.pipeline.definition import Features
    from divisions.settings import S3Settings

PARTS_PER_BUCKET = 2
"""More parts than processes, so that a slow one does not keep all others waiting."""


@dataclass(frozen=True, slots=True)
class PartTask:
    """What a task needs to read a part."""

    uri: str
    s3: S3Settings
    allow_buckets: tuple[str, ...]
    form: DataFormat
    limits: Limits
    paths: tuple[str, ...]
    part: Part
    entity: str
    num_buckets: int


class BlockRef(Protocol):
    """A block that a task has made, wherever it is."""


class Workers(Protocol):
    """The processes of a cluster. `trainers.cluster_data.ray_workers` has those of Ray."""

    @property
    def num_buckets(self) -> int: ...

    def read(self, tasks: Sequence[PartTask]) -> list[tuple[StagedPart, Sequence[BlockRef]]]:
        """What each task has read, and its blocks, one for each bucket."""
        ...

    def fetch(self, block: BlockRef) -> Block: ...

    def open_buckets(
        self,
        limits: Limits,
        gathered: Sequence[Gathered],
        parts: Sequence[StagedPart],
        blocks: Sequence[Sequence[BlockRef]],
    ) -> contextlib.AbstractContextManager[Buckets]:
        """Buckets with their rows. ``blocks`` has those of each part."""
        ...


def read_by_size(
    uri: str,
    *,
    s3: S3Settings,
    allow_buckets: tuple[str, ...],
    features: Features,
    label: str,
    reading: Reading = ALL_EVENTS,
    known: KnownKinds = NOTHING_KNOWN,
    place: Callable[[], contextlib.AbstractContextManager[Workers]],
    num_nodes: int,
    wanted: Distribution,
) -> RawEvents:
    """As `trainers.data.ingest.read_events`, on one node or over all, as the input's size says. A note says which.

    Args:
        place: finds room for the processes, when they are needed.
        num_nodes: of the cluster.
        wanted: the pipeline file's choice.
    """
    read_here = partial(
        read_events,
        uri,
        s3=s3,
        allow_buckets=allow_buckets,
        features=features,
        label=label,
        reading=reading,
        known=known,
    )
    if num_nodes < 2 and wanted is not Distribution.ALWAYS:
        return read_here()  # whatever its size: looking it up asks S3 for each file
    location, paths, sizes, notes = signed_if_refused(locate(uri, s3=s3, allow_buckets=allow_buckets), _survey)
    obstacle = "features over events are computed in one engine" if features.define else ""
    choice = choose_nodes(sum(sizes), reading.limits.memory_gb, num_nodes, wanted, obstacle)
    if not choice.is_distributed:
        events = read_here()
        return replace(events, notes=(*events.notes, choice.note)) if num_nodes > 1 else events
    files = [
        _input_file(index, size, location, path, reading.format)
        for index, (path, size) in enumerate(zip(paths, sizes, strict=True))
    ]
    task = PartTask(
        uri=uri,
        s3=s3,
        allow_buckets=allow_buckets,
        form=reading.format,
        limits=reading.limits,
        paths=tuple(paths),
        part=Part(()),
        entity=features.entity,
        num_buckets=0,
    )
    with place() as workers:
        count = workers.num_buckets
        tasks = [replace(task, part=part, num_buckets=count) for part in cut(files, PARTS_PER_BUCKET * count)]
        return _gather(location, tasks, notes, choice, features, label, reading, known, workers)


def _gather(
    location: Location,
    tasks: Sequence[PartTask],
    notes: Sequence[str],
    choice: Choice,
    features: Features,
    label: str,
    reading: Reading,
    known: KnownKinds,
    workers: Workers,
) -> RawEvents:
    read = _read(workers, tasks)
    parts = [staged for staged, _ in read]
    gathered = gather_groups(parts)
    with open_engine(reading.limits) as engine:
        folder = engine.folder / "rows"
        for number, (_, blocks) in enumerate(read):
            for bucket, block in enumerate(blocks):
                write_block(folder / str(bucket), number, workers.fetch(block))
        create_views(engine, folder, gathered, parts)
        staging = Staging(
            engine,
            location,
            reading.format.null or MISSING_WORDS,
            groups=[one.group for one in gathered if one.group.num_rows],
            notes=list(dict.fromkeys([*notes, *part_notes(gathered, parts)])),
            formats={index: text for part in parts for index, text in part.formats.items()},
            sources=list(tasks[0].paths),
        )
        for part in parts:
            staging.bad.extend(part.bad)
        with workers.open_buckets(reading.limits, gathered, parts, [blocks for _, blocks in read]) as buckets:
            make_checks = partial(ClusterChecks, buckets=buckets, folder=str(engine.folder))
            events = events_of(staging, features, label, reading, known, make_checks)
    return replace(events, notes=(*events.notes, choice.note))


def _read(workers: Workers, tasks: Sequence[PartTask]) -> list[tuple[StagedPart, Sequence[BlockRef]]]:
    """What all tasks have read. A file of which a range is not plain is read again, as a whole."""
    found = list(zip(tasks, workers.read(tasks), strict=True))
    refused = {task.part.indices[0] for task, (staged, _) in found if staged.is_refused}
    if refused:
        again = [replace(tasks[0], part=Part((index,))) for index in sorted(refused)]
        found = [one for one in found if not (one[0].part.lines is not None and one[0].part.indices[0] in refused)]
        found += zip(again, workers.read(again), strict=True)
        found.sort(key=lambda one: one[0].part.indices)  # stable: the ranges of a file stay in their order
    counted: Counter[int] = Counter()
    read = []
    for task, (staged, blocks) in found:
        if task.part.lines is None:
            read.append((staged, blocks))
            continue
        index = task.part.indices[0]
        groups = tuple(replace(one, rows_before=counted[index]) for one in staged.groups)
        counted[index] += sum(one.group.num_rows for one in groups)
        read.append((replace(staged, groups=groups), blocks))
    return read


def _survey(location: Location) -> tuple[Location, list[str], list[int], list[str]]:
    """The files of an input, their sizes, and notes; the location is the one that answers."""
    paths, notes = data_files(location)
    try:
        sizes = [info.size or 0 for info in location.filesystem.get_file_info(paths)]
    except OSError as error:
        raise_unreachable(location, error)
    return location, paths, sizes, notes


def _input_file(index: int, num_bytes: int, location: Location, path: str, form: DataFormat) -> InputFile:
    """What can be told of a file's rows. Damaged files can only be read as a whole: their tasks say what is wrong."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = InputFile(index, num_bytes)
    try:
        file = inspect_file(location.filesystem, path, form.encoding)
        if file.kind is FileKind.CSV:
            opened = open_csv(file, form.delimiter)
            return replace(whole, has_lines=opened is not None and can_be_cut(opened))
        if file.kind is not FileKind.PARQUET:
            return whole
        with location.filesystem.open_input_file(path) as source:
            return replace(whole, num_rows=int(pq.ParquetFile(source).metadata.num_rows) or None)
    except (pa.ArrowInvalid, OSError, InputError):
        return whole
