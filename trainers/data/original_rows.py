"""Some records of a plain CSV file once more, as they are spelled: for the quarantine.

DuckDB has read their numbers as numbers, and their words for missing values as nothing (`trainers.data.plain_csv`).
Each record is one line, so those that are asked for become a small file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainers.data.arrow_arrays import array_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from trainers.data.plain_csv import PlainCsv

_ROW_BITS = 40


@dataclass(frozen=True, slots=True)
class OriginalFile:
    """A file of a group, by its number in the input."""

    index: int
    csv: PlainCsv


def load_originals(
    connection: DuckDBPyConnection, files: Sequence[OriginalFile], ids_N: NDArray[np.int64], folder: Path
) -> list[str]:
    """Writes tables of ``id, v0, v1 ...``, all of it text, with the records of some rows; returns their names."""
    import pyarrow as pa

    tables = []
    for file in files:
        own_N = np.sort(ids_N[ids_N >> _ROW_BITS == file.index])
        if not len(own_N):
            continue
        path = folder / f"originals-{file.index}.csv"
        copy_records(Path(file.csv.path), own_N & ((1 << _ROW_BITS) - 1), path)
        table = f"originals_{file.index}"
        file.csv.load_text(connection, path, f"{table}_text")
        path.unlink()
        columns = [array_of(each, pa.int64()) for each in (own_N, np.arange(len(own_N)))]
        connection.register("asked", pa.Table.from_arrays(columns, ["id", "place"]))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT asked.id, text.* FROM {table}_text AS text"
            " JOIN asked ON text.rowid = asked.place"
        )
        connection.unregister("asked")
        connection.execute(f"DROP TABLE {table}_text")
        tables.append(table)
    return tables


def copy_records(source: Path, numbers: NDArray[np.int64], target: Path) -> None:
    """Copies the header, which is record 1, and those of some numbers, in order."""
    asked = iter([*numbers.tolist(), 0])
    wanted = next(asked)
    with source.open("rb") as lines, target.open("wb") as copy:
        for number, line in enumerate(lines, start=1):
            if number in {1, wanted}:
                copy.write(line)
                wanted = next(asked) if number == wanted else wanted
            if not wanted:
                break
