"""Prepared data as files, for a process on another node: tables are read from a store, not sent through Ray.

What is small (schema, counts, notes) stays in `Prepared`. Split tables are not written: they follow from the customers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainers.data.feature_table import FeatureTable, split_holdout
from trainers.data.preparation import Prepared

if TYPE_CHECKING:
    import pandas as pd

RAW, QUARANTINE, TABLE, NEWEST = "raw.feather", "quarantine.feather", "table.npy", "newest.parquet"


def write_prepared(prepared: Prepared, folder: Path) -> Prepared:
    """Writes the tables into a folder; returns the rest. The newest rows are to be there already, as `NEWEST`."""
    table = prepared.table
    _write_frame(table.raw, folder / RAW)
    _write_frame(prepared.events.quarantine, folder / QUARANTINE)
    np.save(folder / TABLE, np.concatenate([table.x, table.y[:, None]], axis=1, dtype=np.float32), allow_pickle=False)
    empty = _without_rows(table)
    return replace(
        prepared,
        events=replace(prepared.events, quarantine=prepared.events.quarantine.iloc[:0]),
        table=empty,
        train=empty,
        holdout=empty,
    )


def read_prepared(rest: Prepared, folder: Path, holdout_fraction: float, seed: int) -> Prepared:
    """The prepared data, from what `write_prepared` has returned and written."""
    raw, both = _read_frame(folder / RAW, rest.table.raw), np.load(folder / TABLE, allow_pickle=False)
    entities = tuple(map(str, raw[rest.table.schema.entity]))
    x, y = np.ascontiguousarray(both[:, :-1]), np.ascontiguousarray(both[:, -1])
    table = replace(rest.table, x=x, y=y, entities=entities, raw=raw)
    split = split_holdout(table, holdout_fraction, seed)
    events = replace(rest.events, quarantine=_read_frame(folder / QUARANTINE, rest.events.quarantine))
    return replace(rest, events=events, table=table, train=split.train, holdout=split.holdout)


def hashes(folder: Path) -> Mapping[str, str]:
    """The SHA-256 of each file by its name."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _without_rows(table: FeatureTable) -> FeatureTable:
    return table.take(np.zeros(len(table), dtype=bool))


def _write_frame(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import feather

    feather.write_feather(pa.Table.from_pandas(frame, preserve_index=False), str(path), compression="lz4")


def _read_frame(path: Path, like: pd.DataFrame) -> pd.DataFrame:
    """The frame with the types of ``like``: Arrow's bools come back as bools, also where they were objects."""
    from pyarrow import feather

    frame: pd.DataFrame = feather.read_table(str(path)).to_pandas()
    return frame.astype(like.dtypes.to_dict())
