"""Raw rows on their way from the task that read them to the bucket of their entity: compressed Parquet, unchanged.

A row keeps its ``id``, and its values keep their types, so a bucket sees what one machine would see. All rows of an
entity are in the same bucket, by a hash of its identifier. Rows of several tasks become one `RowGroup` again where they
would have been one on one machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers.cluster_data.choice import Part
from trainers.data.engine import Engine, text_literal
from trainers.data.file_formats import BadRow, FileKind
from trainers.data.raw_columns import Form, RawColumn, list_literal
from trainers.data.row_groups import ROW_BITS, RowGroup
from trainers.data.staging import Staging

Block = tuple[tuple[int, NDArray[np.uint8]], ...]
"""The rows of one bucket that one task read: for each of its groups that has some, its number and a Parquet file."""


@dataclass(frozen=True, slots=True)
class StagedGroup:
    """A group as one task has staged it. ``physical`` are the names and types of its relation's columns.

    ``rows_before`` are those of its file in earlier parts. The ids in its blocks do not count them.
    """

    group: RowGroup
    physical: tuple[tuple[str, str], ...]
    first_file: int
    rows_before: int = 0

    @property
    def key(self) -> object:
        """Groups with the same key are one group. All JSON lines are."""
        if self.group.kind in {FileKind.JSON_LINES, FileKind.JSON_ARRAY}:
            return FileKind.JSON_LINES
        return self.group.kind, tuple(self.group.columns.items()), self.physical


@dataclass(frozen=True, slots=True)
class StagedPart:
    """What one task has read, except its rows. ``is_refused``: its lines are no plain CSV, and it has read nothing."""

    groups: tuple[StagedGroup, ...]
    bad: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()
    formats: Mapping[int, str] = field(default_factory=dict)
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Gathered:
    """A group of the whole input. ``views`` has, per part and number of a group there, the columns to select."""

    group: RowGroup
    views: dict[tuple[int, int], str] = field(default_factory=dict)


def staged_part(staging: Staging, part: Part) -> StagedPart:
    """Describes what was staged of a part."""
    found = []
    for group in staging.groups:
        described = staging.engine.connection.execute(f"DESCRIBE SELECT * FROM {group.relation}").fetchall()
        physical = tuple((str(name), str(kind)) for name, kind, *_ in described if name not in {"id", "flaw"})
        if part.last is not None:
            # The file says how many values it has in all; the first of its parts counts them.
            present = group.present if part.first == 1 else dict.fromkeys(group.present, 0)
            group = replace(group, num_rows=part.last - part.first + 1, present=present)  # noqa: PLW2901
        found.append(StagedGroup(group, physical, staging.sources.index(group.example)))
    return StagedPart(tuple(found), tuple(staging.bad.read()), tuple(staging.notes), staging.formats)


def write_rows(staging: Staging, part: Part, entity: str, num_buckets: int, folder: Path) -> None:
    """Writes the rows of a part into a folder, for `read_blocks`."""
    for number, group in enumerate(staging.groups):
        column = group.columns.get(entity)
        identifier = column.identifier if column is not None else "NULL::VARCHAR"
        chosen = f" WHERE {_rows_of_part(part)}" if part.last is not None else ""
        staging.engine.connection.execute(
            f"COPY (SELECT *, (hash({identifier}) % {num_buckets})::INTEGER AS bucket FROM {group.relation}{chosen})"
            f" TO {text_literal(str(folder / str(number)))}"
            " (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (bucket), WRITE_PARTITION_COLUMNS false)"
        )


def read_blocks(folder: Path, num_buckets: int) -> Iterator[Block]:
    """The block of each bucket, in order. What was read is gone from the folder."""
    numbers = sorted(int(path.name) for path in folder.iterdir())
    for bucket in range(num_buckets):
        block = []
        for number in numbers:
            for path in sorted((folder / str(number) / f"bucket={bucket}").glob("*.parquet")):
                block.append((number, np.fromfile(path, dtype=np.uint8)))
                path.unlink()
        yield tuple(block)


def _rows_of_part(part: Part) -> str:
    number = f"(id & {(1 << ROW_BITS) - 1})"
    return f"{number} BETWEEN {part.first} AND {part.last}"


def gather_groups(parts: Sequence[StagedPart]) -> list[Gathered]:
    """The groups of the whole input, in the order in which one machine has them."""
    order = [FileKind.PARQUET, FileKind.CSV, FileKind.JSON_LINES, FileKind.JSON_ARRAY]
    places = sorted(
        ((part, number) for part, staged in enumerate(parts) for number in range(len(staged.groups))),
        key=lambda place: (
            order.index(parts[place[0]].groups[place[1]].group.kind),
            parts[place[0]].groups[place[1]].first_file,
            place,
        ),
    )
    together: dict[object, list[tuple[int, int]]] = {}
    for part, number in places:
        together.setdefault(parts[part].groups[number].key, []).append((part, number))
    return [_gather(f"gathered_{index}", places, parts) for index, places in enumerate(together.values())]


def _gather(relation: str, places: Sequence[tuple[int, int]], parts: Sequence[StagedPart]) -> Gathered:
    staged = {place: parts[place[0]].groups[place[1]] for place in places}
    groups = [one.group for one in staged.values()]
    columns: dict[str, RawColumn] = {}
    views: dict[tuple[int, int], str] = {}
    if len({tuple(one.group.columns.items()) for one in staged.values()}) == 1:
        columns = dict(groups[0].columns)
        views = {place: _counted_on(one.rows_before) for place, one in staged.items()}
    else:  # JSON lines: each task knows the members of its own lines only
        for one in groups:
            for name, column in one.columns.items():
                own = replace(column, sql=f"w{len(columns)}") if column.form is Form.JSON else column
                columns.setdefault(name, own)
        wanted = [(name, column.sql) for name, column in columns.items() if column.form is Form.JSON]
        for place, item in staged.items():
            there = item.group.columns
            picked = [f"{there[name].sql if name in there else 'NULL::VARCHAR'} AS {sql}" for name, sql in wanted]
            views[place] = ", ".join(["id", "flaw", *picked])
    present = {
        name: sum(one.present[name] for one in groups) for name in columns if all(name in one.present for one in groups)
    }
    rows = sum(one.num_rows for one in groups)
    return Gathered(
        RowGroup(relation, columns, groups[0].kind, rows, groups[0].example, present, delimiter=groups[0].delimiter),
        views,
    )


def _counted_on(rows_before: int) -> str:
    return f"* REPLACE (id + {rows_before} AS id)" if rows_before else "*"


def part_notes(gathered: Sequence[Gathered], parts: Sequence[StagedPart]) -> list[str]:
    """The notes of all parts. Those on a group's columns name its first file, and are told once for the group."""
    firsts = {one.group.example for one in gathered}
    examples = {staged.group.example for part in parts for staged in part.groups}
    repeated = tuple(f"{example}: " for example in examples - firsts)
    return [note for part in parts for note in part.notes if not note.startswith(repeated)]


def write_block(folder: Path, part: int, block: Block) -> None:
    """Writes a block for `create_views`."""
    folder.mkdir(parents=True, exist_ok=True)
    for position, (number, data) in enumerate(block):
        data.tofile(folder / f"{part}-{number}-{position}.parquet")


def create_views(engine: Engine, folder: Path, gathered: Sequence[Gathered], parts: Sequence[StagedPart]) -> None:
    """Makes the relations of the groups from the blocks in a folder. A group may have no rows there."""
    for one in gathered:
        selects = []
        for (part, number), columns in one.views.items():
            paths = [str(path) for path in sorted(folder.rglob(f"{part}-{number}-*.parquet"))]
            if paths:
                scan = f"read_parquet({list_literal(paths)}, hive_partitioning = false)"
            else:
                physical = "".join(f', NULL::{kind} AS "{name}"' for name, kind in parts[part].groups[number].physical)
                scan = f"(SELECT NULL::BIGINT AS id, NULL::VARCHAR AS flaw{physical} WHERE false)"
            selects.append(f"SELECT {columns} FROM {scan}")
        engine.connection.execute(f"CREATE TEMP VIEW {one.group.relation} AS {' UNION ALL '.join(selects)}")
