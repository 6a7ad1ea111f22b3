"""`RowChecks` over all buckets: each method is called in every bucket, and the answers are put together.

Everything that `RowChecks` decides, it decides for the rows of one entity, and an entity is in one bucket. So counts
are added up, rows are put one after the other, and nothing else is left to decide here.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from divisions.schema import FeatureKind
from trainers.cluster_data.bucket import Call
from trainers.data.engine import text_literal
from trainers.data.labels import LabelCounts
from trainers.data.raw_columns import list_literal
from trainers.data.row_checks import FlawedRow, Picked, RowChecks


class Buckets(Protocol):
    """All buckets of an input, wherever they are."""

    def call(self, call: Call) -> list[Any]:
        """Each bucket's answer."""
        ...

    def flawed(self, call: Call) -> list[NDArray[np.uint8]]:
        """Each bucket's flawed rows as a Parquet file; the call writes it."""
        ...

    def chosen(self) -> list[NDArray[np.uint8]]:
        """Each bucket's table ``chosen`` as a Parquet file."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterChecks(RowChecks):
    """The checks of one input. ``connection`` and ``groups`` have all rows; the tables are those of the buckets."""

    buckets: Buckets | None = None
    folder: str = ""

    def judge(self, now: dt.datetime | None) -> None:
        self._ask("judge", now)

    def count(self) -> dict[str, int]:
        return dict(sum((Counter(counts) for counts in self._ask("count")), Counter()))

    def first_flawed(self) -> FlawedRow | None:
        return min((row for row in self._ask("first_flawed") if row is not None), key=lambda row: row.id, default=None)

    def write_flawed(self, path: Path) -> None:
        assert self.buckets is not None
        files = []
        for index, data in enumerate(self.buckets.flawed(self._call("write_flawed"))):
            files.append(f"{self.folder}/flawed-{index}.parquet")
            data.tofile(files[-1])
        self.connection.execute(
            f"COPY (SELECT * FROM read_parquet({list_literal(files)})) TO {text_literal(str(path))} (FORMAT parquet)"
        )

    def pick(self, as_of: dt.datetime | None, *, is_latest_only: bool) -> Picked:
        found: list[Picked] = self._ask("pick", as_of, is_latest_only=is_latest_only)
        return Picked(*(sum(getattr(one, item.name) for one in found) for item in fields(Picked)))

    def choose(self, kinds: dict[str, FeatureKind]) -> None:
        self._ask("choose", kinds)
        assert self.buckets is not None
        for index, data in enumerate(self.buckets.chosen()):
            path = f"{self.folder}/chosen-{index}.parquet"
            data.tofile(path)
        pattern = text_literal(f"{self.folder}/chosen-*.parquet")
        self.connection.execute(f"CREATE TEMP VIEW chosen AS SELECT * FROM read_parquet({pattern})")

    def label_counts(self) -> LabelCounts:
        return LabelCounts(*_sums(self._ask("label_counts"), LabelCounts))

    def _label_sums(self) -> tuple[int, ...]:
        return tuple(map(sum, zip(*self._ask("_label_sums"), strict=True)))

    def _ask(self, method: str, *arguments: Any, **keywords: Any) -> list[Any]:
        assert self.buckets is not None
        return self.buckets.call(self._call(method, *arguments, **keywords))

    def _call(self, method: str, *arguments: Any, **keywords: Any) -> Call:
        own = {item.name: getattr(self, item.name) for item in fields(RowChecks) if item.name != "connection"}
        return Call(method, own, arguments, keywords)


def _sums(found: Sequence[Any], kind: type) -> list[int]:
    return [sum(getattr(one, item.name) for one in found) for item in fields(kind)]
