"""One bucket: all rows of some entities, in an engine of its own. It judges and picks them as one machine would."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.cluster_data.blocks import Block, Gathered, StagedPart, create_views, write_block
from trainers.data.engine import Engine, Limits, open_engine, text_literal
from trainers.data.row_checks import RowChecks


@dataclass(frozen=True, slots=True)
class Call:
    """A method of `RowChecks` to call, and the fields that the object has then, besides its connection."""

    method: str
    fields: dict[str, Any]
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)


class Bucket:
    """Lives as long as its input is read. `load` comes first, then `open`, then calls."""

    def __init__(self, limits: Limits) -> None:
        self._stack = contextlib.ExitStack()
        self._engine: Engine = self._stack.enter_context(open_engine(limits))

    def load(self, part: int, block: Block) -> None:
        """Takes the rows that one task has read for this bucket."""
        write_block(self._engine.folder / "rows", part, block)

    def open(self, gathered: Sequence[Gathered], parts: Sequence[StagedPart]) -> None:
        """Makes the relations, once all rows are there."""
        create_views(self._engine, self._engine.folder / "rows", gathered, parts)

    def call(self, call: Call) -> Any:
        checks = RowChecks(connection=self._engine.connection, **call.fields)
        return getattr(checks, call.method)(*call.arguments, **call.keywords)

    def flawed(self, call: Call) -> NDArray[np.uint8]:
        """The flawed rows as a Parquet file. The call writes it, to the path that it is given."""
        path = self._engine.folder / "flawed.parquet"
        self.call(replace(call, arguments=(path,)))
        data = np.fromfile(path, dtype=np.uint8)
        path.unlink()
        return data

    def chosen(self) -> NDArray[np.uint8]:
        """The table ``chosen`` as a Parquet file."""
        path = self._engine.folder / "chosen.parquet"
        sql = f"COPY (SELECT * FROM chosen) TO {text_literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
        self._engine.connection.execute(sql)
        data = np.fromfile(path, dtype=np.uint8)
        path.unlink()
        return data

    def close(self) -> None:
        self._stack.close()
