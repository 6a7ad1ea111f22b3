"""The picked rows with their features, read once: ``picked`` -> chosen(id, entity, happened, label, is_training,
is_newest, f0, f1 ...).

The training rows become arrays (`trainers.data.customer_rows`). The newest rows go to a file
(`trainers.data.newest_rows`). Nothing else of the raw events leaves the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from divisions.errors import InputError
from divisions.schema import FeatureKind
from trainers.data.arrow_arrays import values_of
from trainers.data.customer_rows import Column, CustomerRows, Flags, Numbers, Texts
from trainers.data.engine import first_row
from trainers.data.raw_columns import MISFIT_FLAG, MISFIT_TEXT, absent
from trainers.data.row_groups import RowGroup

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from divisions.pipeline.definition import Features


MAX_MISFITS = 0.5
"""Share of a declared column's values that may not fit. Above it, the declaration is wrong, and not the values."""
_SMALL = 20_000
"""Rows whose texts are numbered faster than pyarrow's functions are imported."""
_FEW = 0.2
"""Share of the rows below which picking them is a step of its own."""


def choose(connection: DuckDBPyConnection, groups: Sequence[RowGroup], kinds: dict[str, FeatureKind]) -> None:
    """Writes the table ``chosen``: the rows of the table ``picked`` with a column for each of ``kinds``."""
    (num_picked,) = first_row(connection, "SELECT count(*) FROM picked")
    num_rows = sum(group.num_rows for group in groups)
    selects, tables = [], []
    for number, group in enumerate(groups):
        found = f"({_found(group, kinds)})"
        if num_picked < _FEW * num_rows:
            # A join that finds one row in twenty gives small blocks, and expressions cost the same for each.
            connection.execute(f"CREATE TEMP TABLE found_{number} AS {found}")
            tables.append(found := f"found_{number}")
        selects.append(_select(found, group, kinds))
    connection.execute(f"CREATE TEMP TABLE chosen AS {' UNION ALL '.join(selects)}")
    for table in tables:
        connection.execute(f"DROP TABLE {table}")


def fetch(
    connection: DuckDBPyConnection,
    kinds: dict[str, FeatureKind],
    features: Features,
    *,
    is_by_entity: bool = False,
    is_repeated: bool = False,
    has_ids: bool = True,
) -> tuple[CustomerRows, tuple[str, ...]]:
    """The training rows of the table ``chosen``, ordered by event time, then entity; or by entity, then event time.

    Args:
        connection: the engine.
        kinds: of the columns.
        features: what is declared of them.
        is_by_entity: the order. Each entity has one row then, unless
        is_repeated: it may have several, each as of another time.
        has_ids: ``picked_id`` names a row, so that the engine needs to sort only that and not all columns.

    Returns:
        the rows, and a note for each column with values that do not fit.

    Raises:
        InputError: more than half of a declared column's values do not fit its kind.
    """
    order = "entity" if is_by_entity else "happened, entity, picked_id"
    table, places_N = _in_order(connection, "entity, happened" if is_repeated else order, has_ids=has_ids)
    columns: dict[str, Column] = {}
    notes = []
    for index, (name, kind) in enumerate(kinds.items()):
        column, num_misfits = _column(table[f"f{index}"], kind)
        columns[name] = _numbered(column.take(places_N)) if has_ids else column
        num_present = int(columns[name].is_present_N.sum()) + num_misfits if num_misfits else 0
        if num_misfits > MAX_MISFITS * num_present and name in getattr(features, kind.value):
            raise InputError(
                f"column {name!r} is declared in features.{kind.value}, but {num_misfits:,} of its {num_present:,}"
                f" values are not {kind.value}",
                remedy=f"take it out of features.{kind.value}, or declare how its values are written in"
                " data_prep.format: null, decimal, thousands",
            )
        if num_misfits:
            notes.append(
                f"column {name!r}: {num_misfits:,} of {table.num_rows:,} values are not {kind.value}"
                " and count as missing"
            )
    rows = CustomerRows(
        entities=tuple(table["entity"].to_pylist()),
        times_N=values_of(table["happened"], "datetime64[us]")[0][places_N],
        labels_N=values_of(table["label"], np.int8)[0][places_N],
        columns=columns,
        is_latest=is_by_entity and not is_repeated,
        is_repeated=is_repeated,
    )
    return rows, tuple(notes)


def _in_order(
    connection: DuckDBPyConnection, order: str, *, has_ids: bool
) -> tuple[pa.Table, NDArray[np.int64] | slice]:
    """The training rows of the table ``chosen``, and their places in an order. Its column ``entity`` is in order."""
    rows = "FROM chosen WHERE is_training"
    if not has_ids:
        sorted_rows = connection.sql(f"SELECT * EXCLUDE (picked_id, is_training, is_newest) {rows} ORDER BY {order}")
        return sorted_rows.to_arrow_table(), slice(None)
    keys = connection.sql(f"SELECT picked_id, entity {rows} ORDER BY {order}").to_arrow_table()
    table = connection.sql(f"SELECT * EXCLUDE (entity, is_training, is_newest) {rows}").to_arrow_table()
    places_N = np.empty(len(keys), np.int64)
    ids_N, sorted_ids_N = (values_of(one["picked_id"], np.int64)[0] for one in (table, keys))
    places_N[np.argsort(sorted_ids_N)] = np.argsort(ids_N)
    return table.append_column("entity", keys["entity"]), places_N


def _numbered(column: Column) -> Column:
    """Texts in the order of their first rows, whatever order the engine gave them in."""
    if not isinstance(column, Texts):
        return column
    codes_N, num_rows = column.codes_N, len(column.codes_N)
    first_N = np.full(len(column.texts) + 1, num_rows)
    first_N[codes_N[::-1]] = np.arange(num_rows)[::-1]  # the last assignment holds; a missing value's is the last place
    order_N = np.argsort(first_N[:-1])
    ranks_N = np.empty(len(first_N), np.int32)
    ranks_N[order_N], ranks_N[-1] = np.arange(len(order_N)), -1
    return Texts(ranks_N[codes_N], tuple(column.texts[place] for place in order_N.tolist()))


_ROLES = "entity, happened, label, is_training, is_newest"


def _found(group: RowGroup, kinds: dict[str, FeatureKind]) -> str:
    """The picked rows of a group with the values of the columns as they are there."""
    asked = dict.fromkeys(group.columns[name].sql for name in kinds if name in group.columns)
    values = "".join(f", {sql}" for sql in asked if sql.isidentifier())
    # No name of the one side is on the other: a column's SQL may use the id of its own row.
    picked = f"SELECT id AS picked_id, {_ROLES} FROM picked"
    return f"SELECT id, {_ROLES}{values} FROM {group.relation} JOIN ({picked}) ON {group.is_row('picked_id')}"


def _select(found: str, group: RowGroup, kinds: dict[str, FeatureKind]) -> str:
    values = "".join(
        f", {group.columns[name].cast(kind) if name in group.columns else absent(kind)} AS f{index}"
        for index, (name, kind) in enumerate(kinds.items())
    )
    return f"SELECT id AS picked_id, {_ROLES}{values} FROM {found}"


def _column(column: pa.ChunkedArray, kind: FeatureKind) -> tuple[Column, int]:
    """A column in the form of its kind, and how many of its values do not fit."""
    match kind:
        case FeatureKind.NUMERIC:
            values_N, is_valid_N = values_of(column, np.float64)
            num_misfits = int((np.isnan(values_N) & is_valid_N).sum())
            return Numbers(np.where(is_valid_N, values_N, np.nan)), num_misfits
        case FeatureKind.BOOLEAN:
            flags_N, is_valid_N = values_of(column, np.uint8)
            codes_N = np.array([0, 1, -1], np.int8)[np.where(is_valid_N, flags_N, MISFIT_FLAG)]
            return Flags(codes_N), int((is_valid_N & (flags_N == MISFIT_FLAG)).sum())
        case FeatureKind.CATEGORICAL:
            return _texts(column)


def _texts(column: pa.ChunkedArray) -> tuple[Texts, int]:
    texts, codes_N = _different(column)
    num_misfits = 0
    if MISFIT_TEXT in texts:
        misfit = texts.index(MISFIT_TEXT)
        num_misfits = int((codes_N == misfit).sum())
        codes_N = np.where(codes_N == misfit, -1, codes_N - (codes_N > misfit)).astype(np.int32)
        del texts[misfit]
    return Texts(codes_N, tuple(texts)), num_misfits


def _different(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    """The different texts in the order of their first rows, and each row's place among them; -1 if it has none."""
    import pyarrow as pa

    if len(column) < _SMALL:
        places: dict[str, int] = {}
        codes = [-1 if text is None else places.setdefault(text, len(places)) for text in column.to_pylist()]
        return list(places), np.array(codes, np.int32)
    encoded = column.dictionary_encode().unify_dictionaries()
    indices = pa.chunked_array([chunk.indices for chunk in encoded.chunks])
    codes_N, is_valid_N = values_of(indices, np.int32)
    return encoded.chunk(0).dictionary.to_pylist(), np.where(is_valid_N, codes_N, np.int32(-1))
