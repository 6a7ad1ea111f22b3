"""The same work in DuckDB, as its user would write it, who knows the columns and their kinds.

Rows    bad rows are counted by reason; of the rows of a customer and a time the first counts, and none if their labels
        contradict each other; then the latest row of each customer up to a day, with its 20 columns, goes to Parquet
Table   besides, what a model learns from: these rows as numbers of 32 bits, in the order of the customers, a text as
        its place among the texts of its column, with the label and a hold-out by the customer's hash; and facts of the
        columns, of a sample as large as ours
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.preparation.raw_input import columns
from trainers.data.column_facts import SAMPLE_ROWS
from trainers.data.engine import text_literal

_MISSING = "['', 'NA', 'N/A', 'n/a', 'NaN', 'nan', 'null', 'NULL', '#N/A', '\\N']"
_ROWS = """
CREATE TEMP TABLE events AS
SELECT {row} AS row_number, trim(customer_id) AS customer_id, event_time::TIMESTAMP AS event_time,
       churn::BOOLEAN AS churn
FROM {relation}
"""
_REASONS = """
SELECT count(*) FILTER (WHERE customer_id IS NULL), count(*) FILTER (WHERE event_time IS NULL),
       count(*) FILTER (WHERE churn IS NULL) FROM events
"""
_LATEST = """
CREATE TEMP TABLE latest AS
SELECT customer_id, max(event_time) AS event_time, arg_max(row_number, event_time) AS row_number
FROM (
    SELECT customer_id, event_time, min(row_number) AS row_number
    FROM events
    WHERE customer_id IS NOT NULL AND churn IS NOT NULL AND event_time <= TIMESTAMP '{as_of}'
    GROUP BY customer_id, event_time
    HAVING min(churn) = max(churn)
)
GROUP BY customer_id
"""
_TABLE = """
COPY (SELECT raw.* FROM {relation} AS raw JOIN latest ON raw.{row} = latest.row_number) TO {target} (FORMAT parquet)
"""
_NEWEST = """
CREATE TEMP TABLE newest AS SELECT raw.* FROM {relation} AS raw JOIN latest ON raw.{row} = latest.row_number
"""
_COPY = "COPY newest TO {target} (FORMAT parquet)"
_KIND = "CREATE TYPE kind_of_{name} AS ENUM (SELECT DISTINCT {name} FROM newest WHERE {name} IS NOT NULL ORDER BY 1)"
_SUMMARY = "SUMMARIZE SELECT * FROM newest USING SAMPLE {rows} ROWS"
_TRAINING = """
SELECT customer_id, hash(customer_id) % 5 = 0 AS is_held, churn::FLOAT AS churn, {values}
FROM newest ORDER BY customer_id
"""
_ROLES = {"customer_id", "event_time", "churn"}


def queries(source: Path, target: Path, as_of: str) -> list[str]:
    """The statements of the rows, in order."""
    return _statements(source, target, as_of, (_ROWS, _REASONS, _LATEST, _TABLE))


def table_queries(source: Path, target: Path, as_of: str) -> tuple[list[str], str]:
    """The statements of rows and table, in order, and the query whose result is the training table."""
    names = [name for name in columns(0, 1) if name not in _ROLES]
    texts = [name for name in names if name.startswith("plan_")]
    statements = _statements(source, target, as_of, (_ROWS, _REASONS, _LATEST, _NEWEST, _COPY))
    statements += [_KIND.format(name=name) for name in texts]
    numbers = {name: f"enum_code({name}::kind_of_{name})" if name in texts else name for name in names}
    values = ", ".join(f"({sql})::FLOAT AS {name}" for name, sql in numbers.items())
    return [*statements, _SUMMARY.format(rows=SAMPLE_ROWS)], _TRAINING.format(values=values).strip()


def _statements(source: Path, target: Path, as_of: str, texts: tuple[str, ...]) -> list[str]:
    """A CSV file is parsed once, into a table whose ``rowid`` numbers the rows."""
    if source.suffix == ".parquet":
        relation, row, first = f"read_parquet({text_literal(str(source))})", "file_row_number", []
    else:
        read = f"read_csv({text_literal(str(source))}, nullstr = {_MISSING})"
        relation, row, first = "raw_rows", "rowid", [f"CREATE TEMP TABLE raw_rows AS FROM {read}"]
    filled = {"relation": relation, "row": row, "as_of": as_of, "target": text_literal(str(target))}
    return [*first, *(text.format(**filled).strip() for text in texts)]
