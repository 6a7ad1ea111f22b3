"""The newest rows: each customer's latest values, with a label or without. They are what the online store holds.

They go from the engine to a file, and from there to another file, a batch at a time: there may be far more customers
than rows to learn from. The first file has all columns that may become features; the second one those of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.errors import InputError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.data.engine import Limits, open_engine, text_literal
from trainers.data.raw_columns import MISFIT_FLAG, MISFIT_TEXT, Form, RawColumn

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BATCH_ROWS = 100_000
_GROUP_CELLS = 5_000_000
"""The engine keeps a group of rows in memory until it is written. In wide tables, groups of the usual 122,880 rows
would take most of its limit."""
_MIN_GROUP_ROWS = 2_048
_FORMS = {
    FeatureKind.NUMERIC: Form.FLOAT,
    FeatureKind.BOOLEAN: Form.BOOLEAN,
    FeatureKind.CATEGORICAL: Form.TEXT,
}


@dataclass(frozen=True, slots=True)
class NewestRows:
    """A file with the newest rows.

    Attributes:
        path: Parquet with the columns ``entity``, ``happened``, and ``f0``, ``f1`` ... in the order of ``columns``.
        columns: the kind of each column, by its name.
    """

    path: Path
    columns: dict[str, FeatureKind]


def copy_newest(connection: DuckDBPyConnection, columns: dict[str, FeatureKind], path: Path) -> NewestRows:
    """Copies the newest rows of the table ``chosen`` (see `trainers.data.picked_rows`) into a file.

    It is read once and then removed, so it is not compressed.
    """
    values = "".join(f", {_value(f'f{index}', kind)} AS f{index}" for index, kind in enumerate(columns.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    group_rows = max(_MIN_GROUP_ROWS, min(BATCH_ROWS, _GROUP_CELLS // max(1, len(columns))))
    connection.execute(
        f"COPY (SELECT entity, happened{values} FROM chosen WHERE is_newest)"
        f" TO {text_literal(str(path))} (FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE {group_rows})"
    )
    return NewestRows(path, columns)


def write_newest(
    newest: NewestRows, path: Path, schema: FeatureSchema, also: Sequence[Feature], limits: Limits
) -> None:
    """Writes the entity, the event time and the features of a model, ordered by entity.

    Types are text, microseconds in UTC, and DOUBLE, BOOLEAN or text by the feature's kind. A value without a form in
    that kind is null. Readers get the old file or the new one.

    Raises:
        InputError: the rows are not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not newest.path.is_file():
        raise InputError(
            f"the data preparation has written {newest.path}, but this process does not find it",
            remedy="share the home (DIVISIONS_HOME) between the nodes of the cluster",
        )
    features = (*schema.features, *also)
    positions = {name: f"f{index}" for index, name in enumerate(newest.columns)}
    values = "".join(
        f", {_value(RawColumn(positions[one.name], _FORMS[newest.columns[one.name]], ()).cast(one.kind), one.kind)}"
        for one in features
    )
    # Not DuckDB's own writer: it renames columns that differ in case only.
    names = [schema.entity, schema.event_time, *(one.name for one in features)]
    draft = path.with_name(f".{path.name}.draft")
    with open_engine(limits) as engine:
        engine.make_room(len(newest.columns))
        rows = engine.connection.sql(
            f"SELECT entity, happened AT TIME ZONE 'UTC'{values}"
            f" FROM read_parquet({text_literal(str(newest.path))}) ORDER BY entity"
        ).to_arrow_reader(BATCH_ROWS)
        assert rows is not None  # the query has a result
        types = pa.schema([(name, field.type) for name, field in zip(names, rows.schema, strict=True)])
        with pq.ParquetWriter(draft, types) as writer:
            for batch in rows:
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=types))
    draft.replace(path)


def _value(sql: str, kind: FeatureKind) -> str:
    """A value of `RawColumn.cast` without the marks of values that do not fit."""
    match kind:
        case FeatureKind.NUMERIC:
            return f"(CASE WHEN NOT isnan({sql}) THEN {sql} END)"
        case FeatureKind.BOOLEAN:
            return f"(CASE WHEN {sql} < {MISFIT_FLAG} THEN ({sql}) = 1 END)"
        case FeatureKind.CATEGORICAL:
            return f"nullif({sql}, {text_literal(MISFIT_TEXT)})"
