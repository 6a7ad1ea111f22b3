"""What the folders and the footers of files say about their rows, without reading these."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from divisions.errors import InputError

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def folder_values(root: str, sources: list[str]) -> dict[str, list[str | None]]:
    """The values of ``name=value`` in the folders below the input, for each file; null where a file has none."""
    depth = len(PurePosixPath(root).parts)
    found: dict[str, list[str | None]] = {}
    for index, source in enumerate(sources):
        for part in PurePosixPath(source).parts[depth:-1]:
            name, equals, value = part.partition("=")
            if equals and name:
                values = found.setdefault(unquote(name), [None] * len(sources))
                values[index] = None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
    return found


def count_present(metadata: pq.FileMetaData) -> dict[str, int]:
    """How many values of each column are not null. A column about which the file does not say it is not there."""
    totals: dict[str, int] = {}
    silent: set[str] = set()
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for index in range(rows.num_columns):
            column = rows.column(index)
            name, statistics = column.path_in_schema, column.statistics
            if statistics is None or not statistics.has_null_count:
                silent.add(name)
            else:
                totals[name] = totals.get(name, 0) + column.num_values - statistics.null_count
    return {name: count for name, count in totals.items() if name not in silent}


def empty_note(paths: list[str]) -> list[str]:
    """A note on the files without any text or byte, if there are some.

    >>> empty_note(["a.csv"]), empty_note(["a.csv", "b.parquet"])
    (['a.csv is empty'], ['2 files are empty: a.csv, b.parquet'])
    """
    if len(paths) < 2:
        return [f"{path} is empty" for path in paths]
    return [f"{len(paths)} files are empty: {', '.join(paths[:5])}"]


def json_pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def refuse_repeated(source: str, names: list[str]) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if repeated:
        raise InputError(f"{source} names columns more than once: {', '.join(repeated)}", remedy="rename them")
