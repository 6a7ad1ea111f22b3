"""The unusable rows of an input: where they came from, why they cannot be used, and what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainers.data.arrow_arrays import array_of, texts_of
from trainers.data.file_formats import BadRow

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COLUMNS = ("source", "row", "reason", "detail", "raw")


@dataclass(frozen=True, slots=True)
class Quarantine:
    """``reasons`` counts the rows by their reason, and ``table`` has them; None if there are none."""

    reasons: dict[str, int] = field(default_factory=dict)
    table: pa.Table | None = None

    @classmethod
    def of(cls, bad: Iterable[BadRow]) -> Quarantine:
        """The rows, ordered by file and row."""
        import pyarrow as pa

        rows = sorted(bad, key=lambda row: (row.source, row.row))
        if not rows:
            return cls()
        arrays = [
            array_of(np.array([row.row for row in rows], np.int64), pa.int64())
            if name == "row"
            else texts_of([getattr(row, name) for row in rows])
            for name in COLUMNS
        ]
        reasons = Counter(row.reason for row in rows)
        return cls(dict(reasons.most_common()), pa.Table.from_arrays(arrays, list(COLUMNS)))

    def __len__(self) -> int:
        return sum(self.reasons.values())

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame."""
        import pandas as pd

        return pd.DataFrame(columns=list(COLUMNS)) if self.table is None else self.table.to_pandas()

    def write(self, folder: Path) -> Path | None:
        """Writes ``folder/quarantine.parquet``. Returns None if there are no rows."""
        import pyarrow.parquet as pq

        if self.table is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        path, draft = folder / "quarantine.parquet", folder / ".quarantine.parquet.draft"
        pq.write_table(self.table, draft, store_schema=False)
        draft.replace(path)
        return path
