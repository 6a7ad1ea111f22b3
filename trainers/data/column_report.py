"""The column report of a run: the columns of its feature table's rows, and why each has its kind.

`divisions data describe` aggregates all events. This looks at the rows that are in memory anyway, one for each
customer, and at a sample of those if they are many. How many values are missing is counted in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from trainers.data.column_facts import SAMPLE_ROWS, ColumnFacts, Figures, facts_of, label_aucs, measure
from trainers.data.engine import DEFAULT_MEMORY_GB, Limits, open_engine
from trainers.data.raw_columns import RawColumn, form_of_type

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection

    from divisions.schema import FeatureKind
    from trainers.data.feature_table import FeatureTable


def report_columns(
    table: FeatureTable, kinds: Mapping[str, FeatureKind], whys: Mapping[str, str]
) -> tuple[ColumnFacts, ...]:
    """The facts of each column that could be a feature.

    Args:
        table: the feature table.
        kinds: the kinds of its raw columns.
        whys: why they have them.
    """
    schema = table.schema
    names = [name for name in kinds if name in table.raw.columns]
    if not names or not len(table):
        return ()
    rows = table.raw.iloc[:: -(-len(table) // SAMPLE_ROWS)]
    are_categories = [kinds[name].value != "numeric" for name in names]
    with open_engine(Limits(num_threads=1, memory_gb=DEFAULT_MEMORY_GB / 2)) as engine:
        connection = engine.connection
        columns = _register(connection, rows, names, schema.label)

        def source(indices: Sequence[int]) -> str:
            values = "".join(f", {columns[i].text} AS t{i}, {columns[i].number} AS n{i}" for i in indices)
            return f"(SELECT row_number() OVER () AS id, label = 1 AS label{values} FROM sampled)"

        figures = measure(connection, source, len(names))
        aucs = label_aucs(connection, source, are_categories, len(rows))
    figures = [_of_all(one, table.raw[name], len(rows)) for name, one in zip(names, figures, strict=True)]
    return tuple(
        facts_of(name, kinds[name].value, whys.get(name, ""), one, auc=auc)
        for name, one, auc in zip(names, figures, aucs, strict=True)
    )


def _of_all(sampled: Figures, column: pd.Series, num_sampled: int) -> Figures:
    """The figures of a whole column, from those of its sample and what is quickly counted."""
    present = int(column.notna().sum())
    scale = len(column) / num_sampled
    is_number = sampled.numbers > 0 and column.dtype != object
    return msgspec.structs.replace(
        sampled,
        rows=len(column),
        present=present,
        # Where nearly all values of a sample differ, so do those of the whole; else the sample has most of them.
        distinct=round(sampled.distinct * scale) if sampled.distinct > 0.9 * sampled.present else sampled.distinct,
        numbers=present if sampled.numbers == sampled.present else round(sampled.numbers * scale),
        minimum=float(column.min()) if is_number else sampled.minimum,
        maximum=float(column.max()) if is_number else sampled.maximum,
    )


def _register(connection: DuckDBPyConnection, rows: pd.DataFrame, names: Sequence[str], label: str) -> list[RawColumn]:
    import pyarrow as pa

    arrays = [pa.array(rows[name], from_pandas=True) for name in names]
    table = pa.table([*arrays, pa.array(rows[label])], names=[*(f"c{i}" for i in range(len(names))), "label"])
    connection.register("sampled", table)
    described = connection.execute("DESCRIBE sampled").fetchall()
    return [RawColumn(f"c{i}", form_of_type(described[i][1])) for i in range(len(names))]
