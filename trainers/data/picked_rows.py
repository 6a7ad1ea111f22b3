"""The picked rows with their features, read once: ``picked`` -> chosen(id, entity, happened, label, is_training,
is_newest, f0, f1 ...).

The training rows become a data frame. The newest rows go to a file (`trainers.data.newest_rows`). Nothing else of the
raw events leaves the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from divisions.errors import InputError
from divisions.schema import FeatureKind
from trainers.data.raw_columns import MISFIT_FLAG, MISFIT_TEXT, absent
from trainers.data.staging import RowGroup

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from divisions.pipeline.definition import Features


MAX_MISFITS = 0.5
"""Share of a declared column's values that may not fit. Above it, the declaration is wrong, and not the values."""


def choose(connection: DuckDBPyConnection, groups: Sequence[RowGroup], kinds: dict[str, FeatureKind]) -> None:
    """Writes the table ``chosen``: the rows of the table ``picked`` with a column for each of ``kinds``."""
    # In two steps: a join that finds one row in twenty gives small blocks, and expressions cost the same for each.
    for number, group in enumerate(groups):
        connection.execute(f"CREATE TEMP TABLE found_{number} AS {_found(group, kinds)}")
    selects = " UNION ALL ".join(_select(number, group, kinds) for number, group in enumerate(groups))
    connection.execute(f"CREATE TEMP TABLE chosen AS {selects}")
    for number in range(len(groups)):
        connection.execute(f"DROP TABLE found_{number}")


def fetch(
    connection: DuckDBPyConnection,
    kinds: dict[str, FeatureKind],
    features: Features,
    label: str,
    *,
    is_by_entity: bool = False,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The training rows of the table ``chosen``, ordered by event time, then entity; or by entity alone.

    Returns:
        the frame (see `trainers.data.ingest.RawEvents`), and a note for each column with values that do not fit.

    Raises:
        InputError: more than half of a declared column's values do not fit its kind.
    """
    import pandas as pd

    table: pa.Table = connection.sql(
        "SELECT * EXCLUDE (picked_id, is_training, is_newest) FROM chosen WHERE is_training ORDER BY "
        + ("entity" if is_by_entity else "happened, entity, picked_id")
    ).to_arrow_table()
    series: dict[str, pd.Series] = {
        features.entity: table["entity"].to_pandas().astype(object),
        features.event_time: table["happened"].to_pandas().astype("datetime64[us]").dt.tz_localize("UTC"),
        label: table["label"].to_pandas().astype(np.int8),
    }
    notes = []
    for index, (name, kind) in enumerate(kinds.items()):
        series[name], num_misfits = _column(table[f"f{index}"], kind)
        num_present = table.num_rows - int(series[name].isna().sum()) + num_misfits
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
    return pd.DataFrame(series), tuple(notes)


_ROLES = "entity, happened, label, is_training, is_newest"


def _found(group: RowGroup, kinds: dict[str, FeatureKind]) -> str:
    """The picked rows of a group with the values of the columns as they are there."""
    asked = dict.fromkeys(group.columns[name].sql for name in kinds if name in group.columns)
    values = "".join(f", {sql}" for sql in asked if sql.isidentifier())
    # No name of the one side is on the other: a column's SQL may use the id of its own row.
    picked = f"SELECT id AS picked_id, {_ROLES} FROM picked"
    return f"SELECT id, {_ROLES}{values} FROM {group.relation} JOIN ({picked}) ON {group.is_row('picked_id')}"


def _select(number: int, group: RowGroup, kinds: dict[str, FeatureKind]) -> str:
    values = "".join(
        f", {group.columns[name].cast(kind) if name in group.columns else absent(kind)} AS f{index}"
        for index, (name, kind) in enumerate(kinds.items())
    )
    return f"SELECT id AS picked_id, {_ROLES}{values} FROM found_{number}"


def _column(column: pa.ChunkedArray, kind: FeatureKind) -> tuple[pd.Series, int]:
    """A column in the form of its kind, and how many of its values do not fit."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    match kind:
        case FeatureKind.NUMERIC:
            values = column.to_numpy()
            return _whole(values), int(np.isnan(values).sum()) - column.null_count
        case FeatureKind.BOOLEAN:
            codes = pc.fill_null(column, MISFIT_FLAG + 1).to_numpy()
            forms = np.array([False, True, None, None], dtype=object)
            return pd.Series(forms[codes], dtype=object), int((codes == MISFIT_FLAG).sum())
        case FeatureKind.CATEGORICAL:
            is_misfit = pc.fill_null(pc.equal(column, MISFIT_TEXT), False)
            count = pc.sum(is_misfit).as_py() or 0
            if count:
                column = pc.if_else(is_misfit, pa.scalar(None, pa.string()), column)
            return column.to_pandas().astype(object), int(count)


def _whole(values: np.ndarray) -> pd.Series:
    """float64, or int64 where all values are whole and none is missing."""
    import pandas as pd

    with np.errstate(invalid="ignore"):
        if len(values) and (np.abs(values) < 2**53).all() and (np.trunc(values) == values).all():
            return pd.Series(values.astype(np.int64))
    return pd.Series(values, dtype=np.float64)
