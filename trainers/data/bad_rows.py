"""Rows that cannot be read, on their way to the quarantine: on the disk, since they may be as many as the good ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainers.data.arrow_arrays import array_of, texts_of
from trainers.data.file_formats import BadRow

_BATCH_ROWS = 10_000
_MAX_REASONS = 1_000
"""Different details that are counted apart; an error of Python may name the place in its line."""


@dataclass(slots=True)
class BadRows:
    """Takes rows one by one, in the order of their files, and keeps few of them in memory.

    Attributes:
        folder: where the files go.
        reasons: how many rows have each reason.
        details: the same with what is known beyond the reason, for messages.
        first: the row that comes first.
        paths: Parquet files with ``source, row, place, reason, detail, raw``, complete after `flush`. Rows of one
            number (each line after a quote that is never closed) are ordered by ``place``.
    """

    folder: Path
    reasons: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    first: BadRow | None = None
    paths: list[Path] = field(default_factory=list)
    _waiting: list[BadRow] = field(default_factory=list)

    def __len__(self) -> int:
        return self.reasons.total()

    def append(self, row: BadRow) -> None:
        self.reasons[row.reason] += 1
        text = f"{row.reason} ({row.detail})" if row.detail else row.reason
        self.details[text if text in self.details or len(self.details) < _MAX_REASONS else row.reason] += 1
        if self.first is None or (row.source, row.row) < (self.first.source, self.first.row):
            self.first = row
        self._waiting.append(row)
        if len(self._waiting) >= _BATCH_ROWS:
            self.flush()

    def extend(self, rows: Iterable[BadRow]) -> None:
        for row in rows:
            self.append(row)

    def flush(self) -> Sequence[Path]:
        """Writes what is in memory; returns all files."""
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []
        return self.paths

    def _write(self, rows: Sequence[BadRow]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / f"bad-{len(self.paths)}.parquet"
        first = len(self) - len(rows)
        numbers = {"row": [row.row for row in rows], "place": range(first, first + len(rows))}
        texts = ("source", "reason", "detail", "raw")
        arrays = [array_of(np.array(values, np.int64), pa.int64()) for values in numbers.values()]
        arrays += [texts_of(getattr(row, name) for row in rows) for name in texts]
        pq.write_table(pa.Table.from_arrays(arrays, [*numbers, *texts]), path, store_schema=False)
        self.paths.append(path)

    def read(self) -> Iterable[BadRow]:
        """All rows, a file at a time."""
        import pyarrow.parquet as pq

        for path in self.flush():
            for row in pq.read_table(path).to_pylist():
                yield BadRow(row["source"], row["row"], row["reason"], row["detail"], row["raw"])
