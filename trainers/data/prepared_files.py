"""Prepared data as files, for a process on another node: tables are read from a store, not sent through Ray.

What is small (schema, counts, notes) stays in `Prepared`. The two parts of the table are not written: they follow from
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainers.data.arrow_arrays import array_of, texts_of, values_of
from trainers.data.customer_rows import Column, CustomerRows, Flags, Numbers, Texts
from trainers.data.feature_table import FeatureTable, split_holdout
from trainers.data.preparation import Prepared
from trainers.data.quarantine import Quarantine

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, TABLE = "rows.arrow", "table.npy"
NEWEST, QUARANTINE = "newest.parquet", "quarantine.parquet"


def write_prepared(prepared: Prepared, folder: Path) -> Prepared:
    """Writes the tables into a folder; returns the rest.

    The newest rows are to be there already, as `NEWEST`, and those that cannot be used, as `QUARANTINE`.
    """
    table, events = prepared.table, prepared.events
    _write_arrow(_rows_to_arrow(table), folder / ROWS)
    np.save(folder / TABLE, np.concatenate([table.x, table.y[:, None]], axis=1, dtype=np.float32), allow_pickle=False)
    empty = FeatureTable(
        table.x[:0], table.y[:0], table.schema, _kinds_of(table.rows), table.is_held_N[:0], table.notes
    )
    return replace(
        prepared,
        events=replace(events, rows=_kinds_of(events.rows), unusable=Quarantine(events.unusable.reasons)),
        table=empty,
        train=empty,
        holdout=empty,
    )


def read_prepared(rest: Prepared, folder: Path) -> Prepared:
    """The prepared data, from what `write_prepared` has returned and written."""
    both = np.load(folder / TABLE, allow_pickle=False)
    rows, is_held_N = _rows_from_arrow(_read_arrow(folder / ROWS), rest.table.rows)
    x, y = np.ascontiguousarray(both[:, :-1]), np.ascontiguousarray(both[:, -1])
    table = replace(rest.table, x=x, y=y, rows=rows, is_held_N=is_held_N)
    split, unusable = split_holdout(table), rest.events.unusable
    if (folder / QUARANTINE).exists():
        unusable = Quarantine(unusable.reasons, table=_read_parquet(folder / QUARANTINE))
    events = replace(rest.events, unusable=unusable)
    return replace(rest, events=events, table=table, train=split.train, holdout=split.holdout)


def hashes(folder: Path) -> Mapping[str, str]:
    """The SHA-256 of each file by its name."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _kinds_of(rows: CustomerRows) -> CustomerRows:
    """The same columns without any row, or text."""
    none = rows.take(np.array([], np.int64))
    columns: dict[str, Column] = {}
    for name, column in none.columns.items():
        columns[name] = Texts(column.codes_N, ()) if isinstance(column, Texts) else column
    return replace(none, columns=columns)


def _rows_to_arrow(table: FeatureTable) -> pa.Table:
    """The rows, with columns named by their places: names of theirs may be those of entity, time or label."""
    import pyarrow as pa

    rows = table.rows
    arrays = [
        texts_of(rows.entities),
        array_of(rows.times_N.view(np.int64), pa.int64()),
        array_of(rows.labels_N, pa.int8()),
        array_of(table.is_held_N.astype(np.int8), pa.int8()),
        *map(_to_arrow, rows.columns.values()),
    ]
    return pa.Table.from_arrays(arrays, [str(place) for place in range(len(arrays))])


def _rows_from_arrow(arrays: pa.Table, kinds: CustomerRows) -> tuple[CustomerRows, np.ndarray]:
    entities, times, labels, held, *columns = arrays.columns
    rows = replace(
        kinds,
        entities=tuple(entities.to_pylist()),
        times_N=values_of(times, np.int64)[0].view("datetime64[us]"),
        labels_N=values_of(labels, np.int8)[0],
        columns={
            name: _from_arrow(column, kind) for (name, kind), column in zip(kinds.columns.items(), columns, strict=True)
        },
    )
    return rows, values_of(held, np.int8)[0] > 0


def _to_arrow(column: Column) -> pa.Array:
    import pyarrow as pa

    match column:
        case Numbers(values_N):
            return array_of(values_N, pa.float64())
        case Flags(codes_N):
            return array_of(codes_N, pa.int8())
        case Texts(codes_N, texts):
            codes = array_of(codes_N, pa.int32(), column.is_present_N)
            return pa.DictionaryArray.from_arrays(codes, texts_of(texts), safe=False)


def _from_arrow(column: pa.ChunkedArray, kind: Column) -> Column:
    match kind:
        case Numbers():
            return Numbers(values_of(column, np.float64)[0])
        case Flags():
            return Flags(values_of(column, np.int8)[0])
        case Texts():
            whole = column.combine_chunks()
            codes_N, is_present_N = values_of(_chunked(whole.indices), np.int32)
            return Texts(np.where(is_present_N, codes_N, np.int32(-1)), tuple(whole.dictionary.to_pylist()))


def _chunked(array: pa.Array) -> pa.ChunkedArray:
    import pyarrow as pa

    return pa.chunked_array([array])


def _write_arrow(table: pa.Table, path: Path) -> None:
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(path)


def _read_arrow(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_file(source).read_all()
