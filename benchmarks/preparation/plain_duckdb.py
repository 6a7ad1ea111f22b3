"""The same work as one query of DuckDB, as its user would write it.

Bad rows are counted by reason; of the rows of a customer and a time the first counts, and none if their labels
contradict each other; then the latest row of each customer up to a day, with its 20 columns, goes to Parquet.
"""

from __future__ import annotations

from pathlib import Path

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


def queries(source: Path, target: Path, as_of: str) -> list[str]:
    """The statements, in order. A CSV file is parsed once, into a table whose ``rowid`` numbers the rows."""
    if source.suffix == ".parquet":
        relation, row, first = f"read_parquet({text_literal(str(source))})", "file_row_number", []
    else:
        read = f"read_csv({text_literal(str(source))}, nullstr = {_MISSING})"
        relation, row, first = "raw_rows", "rowid", [f"CREATE TEMP TABLE raw_rows AS FROM {read}"]
    filled = {"relation": relation, "row": row, "as_of": as_of, "target": text_literal(str(target))}
    return [*first, *(text.format(**filled).strip() for text in (_ROWS, _REASONS, _LATEST, _TABLE))]
