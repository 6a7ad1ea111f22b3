"""The rows of an offline file, as the online store keeps them: made in DuckDB, streamed in batches.

A value is stored as a request would send it. What is no number of 32 bits is null, as it was for training: NaN,
infinities, larger numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.errors import InputError
from divisions.online_store import StoredRow
from divisions.schema import FLOAT32_MAX, FeatureSchema
from trainers.data.engine import Limits, open_engine, text_literal
from trainers.data.raw_columns import Form, RawColumn, form_of_type

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BATCH_ROWS = 5_000
_LIMITS = Limits(num_threads=1, memory_gb=0.5)
"""A fill runs beside gateways and replicas; one core and some buffers are enough."""
_VALUES = frozenset({Form.WHOLE, Form.FLOAT, Form.DECIMAL, Form.BOOLEAN, Form.TEXT})


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a file by name. Each is a column ``v0``, ``v1``, … of ``scan``."""

    scan: str
    by_name: dict[str, RawColumn]


def stored_rows(path: Path, schema: FeatureSchema) -> Iterator[Sequence[StoredRow]]:
    """The rows of a file of the offline store: entity, features, event time.

    Args:
        path: a Parquet file of entity, event time and raw features, perhaps with the label.
        schema: names entity, event time and label. All other columns are features.

    Raises:
        InputError: the file cannot be read, or is not such a file.
    """
    import duckdb

    try:
        with open_engine(_LIMITS) as engine:
            columns = _columns(engine.connection, path)
            rows = engine.connection.execute(_select(path, columns, schema))
            while batch := rows.fetchmany(BATCH_ROWS):
                yield batch
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} cannot be read: {reason}", remedy="run the pipeline again") from None


def _columns(connection: DuckDBPyConnection, path: Path) -> _Columns:
    # DuckDB renames columns that differ in case only; the file's own list has the names as they are, in its order.
    listed = connection.execute(f"SELECT name, num_children FROM parquet_schema({text_literal(str(path))})").fetchall()
    names = [str(name) for name, _ in listed[1:]]
    scan = f"read_parquet({text_literal(str(path))}, hive_partitioning = false)"
    described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
    if len(names) != len(described):
        raise InputError(f"{path} has columns that are no plain values", remedy="run the pipeline again")
    forms = [_form(str(type_name)) for _, type_name, *_ in described]
    aliases = ", ".join(f"v{index}" for index in range(len(names)))
    return _Columns(
        f"{scan} AS t({aliases})",
        {name: RawColumn(f"v{index}", form) for index, (name, form) in enumerate(zip(names, forms, strict=True))},
    )


def _form(type_name: str) -> Form:
    # A column without any value has no type.
    return Form.TEXT if type_name == '"NULL"' else form_of_type(type_name)


def _select(path: Path, columns: _Columns, schema: FeatureSchema) -> str:
    found = columns.by_name
    missing = [name for name in (schema.entity, schema.event_time) if name not in found]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}", remedy="run the pipeline again")
    entity, time = found[schema.entity], found[schema.event_time]
    members = ", ".join(
        f"{text_literal(name)}, {_value(path, name, column)}"
        for name, column in found.items()
        if name not in {schema.entity, schema.event_time, schema.label}
    )
    # Whole microseconds are exact. Nanoseconds as a double would be rounded.
    return (
        f"SELECT {_entity(entity)} AS entity, encode(json_object({members})::VARCHAR),"
        f" epoch_us({time.sql}::TIMESTAMPTZ) / 1e6 FROM {columns.scan} WHERE entity IS NOT NULL"
    )


def _entity(column: RawColumn) -> str:
    return column.sql if column.form is Form.TEXT else column.identifier


def _value(path: Path, name: str, column: RawColumn) -> str:
    if column.form not in _VALUES:
        raise InputError(
            f"{path}: column {name!r} is neither number, text nor boolean", remedy="run the pipeline again"
        )
    match column.form:
        case Form.FLOAT | Form.DECIMAL:
            value = f"{column.sql}::DOUBLE"
            return f"(CASE WHEN abs({value}) <= {FLOAT32_MAX!r} THEN {value} END)"
        case Form.TEXT:
            return f"{column.sql}::VARCHAR"
    return column.sql
