"""The unusable rows of an input: where they came from, why they cannot be used, and what they hold.

They go from the engine to a file without being in memory, since there may be as many as good ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.errors import InputError
from trainers.data.engine import text_literal
from trainers.data.raw_columns import list_literal

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

COLUMNS = ("source", "row", "reason", "detail", "raw")


@dataclass(frozen=True, slots=True)
class Quarantine:
    """``reasons`` counts the rows by their reason, most frequent first. They are in a file; without one, in a table."""

    reasons: Mapping[str, int] = field(default_factory=dict)
    path: Path | None = None
    table: pa.Table | None = None

    def __len__(self) -> int:
        return sum(self.reasons.values())

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame."""
        import pandas as pd

        if self.path is not None:
            return pd.read_parquet(self.path)
        return pd.DataFrame(columns=list(COLUMNS)) if self.table is None else self.table.to_pandas()

    def write(self, folder: Path) -> Path | None:
        """Moves the rows to ``folder/quarantine.parquet``. Returns None if there are none."""
        import pyarrow.parquet as pq

        if not self.reasons:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        path, draft = folder / "quarantine.parquet", folder / ".quarantine.parquet.draft"
        if self.path is None:
            pq.write_table(self.table, draft, store_schema=False)
        elif self.path.is_file():
            shutil.move(self.path, draft)
        else:
            raise InputError(
                f"the data preparation has written {self.path}, but this process does not find it",
                remedy="share the home (DIVISIONS_HOME) between the nodes of the cluster",
            )
        draft.replace(path)
        return path


def gather(
    connection: DuckDBPyConnection,
    reasons: Mapping[str, int],
    bad: Sequence[Path],
    flawed: Sequence[Path],
    sources: Sequence[str],
    path: Path | None,
) -> Quarantine:
    """Puts unusable rows together, ordered by file and row.

    Args:
        connection: the engine's.
        reasons: how many rows have each reason.
        bad: files of rows that cannot be read (`trainers.data.bad_rows`).
        flawed: files of rows that can (`trainers.data.row_checks.RowChecks.write_flawed`).
        sources: the input's files, by the number that is in an ``id``.
        path: the file to write; None keeps the rows in memory.
    """
    ordered = dict(sorted(reasons.items(), key=lambda item: -item[1]))
    if not ordered:
        return Quarantine()
    selects = []
    if bad:
        selects.append(f'SELECT source, "row", place, reason, detail, raw FROM {_scan(bad)}')
    if flawed:
        source = f"{list_literal(sources)}[(id >> 40) + 1]"
        number = f"id & {(1 << 40) - 1}"
        selects.append(
            f'SELECT {source} AS source, {number} AS "row", 0 AS place, reason, detail, raw FROM {_scan(flawed)}'
        )
    rows = (
        f'SELECT source, "row", reason, detail, raw FROM ({" UNION ALL ".join(selects)}) ORDER BY source, "row", place'
    )
    if path is None:
        return Quarantine(ordered, table=connection.sql(rows).to_arrow_table())
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY ({rows}) TO {text_literal(str(path))} (FORMAT parquet)")
    return Quarantine(ordered, path)


def _scan(paths: Sequence[Path]) -> str:
    return f"read_parquet({list_literal([str(path) for path in paths])}, hive_partitioning = false)"
