"""Copies of events, where features are defined over events: rows that are equal in every column.

Without definitions, an entity has one event at a time, and a second one is a duplicate. A log of events has several:
two lines of one order, a login and a purchase. There, only a row that was delivered twice is a duplicate. Labels that
contradict each other at one time are conflicts in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainers.data.engine import first_row
from trainers.data.raw_columns import Form
from trainers.data.row_groups import RowGroup

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def find_copies(
    connection: DuckDBPyConnection,
    groups: Sequence[RowGroup],
    roles: Sequence[str],
    is_served: str,
    *,
    conflict: int,
    duplicate: int,
) -> None:
    """Writes the table ``clashes`` (see `trainers.data.row_checks`) from the tables ``judged`` and ``suspects``.

    Args:
        connection: the engine.
        groups: the rows, for their contents.
        roles: the columns of the entity and the event time, which are equal anyway.
        is_served: BOOLEAN, of rows of ``judged``: whether a row is an event.
        conflict: the number of the reason of labels that contradict each other.
        duplicate: the number of the reason of copies.
    """
    connection.execute(
        "CREATE TEMP TABLE alike AS SELECT id, entity, happened, label, reason FROM judged"
        f" WHERE {is_served} AND hash(entity, happened) IN (SELECT h FROM suspects)"
    )
    (num_alike,) = first_row(connection, "SELECT count(*) FROM alike")
    if not num_alike:
        connection.execute("CREATE TEMP TABLE clashes (id BIGINT, is_first BOOLEAN, reason UTINYINT)")
        return
    names = sorted({name for group in groups for name in group.columns if _is_in_files(group, name)} - set(roles))
    contents = " UNION ALL ".join(_contents(group, names) for group in groups)
    connection.execute(
        f"CREATE TEMP TABLE clashes AS WITH same AS (SELECT * FROM alike JOIN ({contents}) USING (id)),"
        " firsts AS (SELECT entity, happened, content, min(id) AS first FROM same GROUP BY ALL),"
        " conflicts AS (SELECT entity, happened FROM same WHERE label IS NOT NULL"
        " GROUP BY ALL HAVING min(label) <> max(label))"
        f" SELECT id, id = first AS is_first, CASE WHEN reason <> 0 THEN 0 WHEN id <> first THEN {duplicate}"
        f" ELSE {conflict} END AS reason FROM same JOIN firsts USING (entity, happened, content)"
        " WHERE id <> first OR (label IS NOT NULL AND (entity, happened) IN (SELECT (entity, happened) FROM conflicts))"
    )


def _contents(group: RowGroup, names: Sequence[str]) -> str:
    values = ["NULL"]
    for name in names:
        column = group.columns.get(name)
        if column is None:
            values.append("NULL")
        elif column.form in {Form.TIME, Form.OTHER}:  # which have no text of their own
            values.append(f"({column.sql})::VARCHAR")
        else:  # As text, so that a copy in another format is a copy.
            values.append(column.identifier)
    content = f"hash({', '.join(values)})::UBIGINT"
    return f"SELECT id, {content} AS content FROM {group.relation} WHERE id IN (SELECT id FROM alike)"


def _is_in_files(group: RowGroup, name: str) -> bool:
    """A column of folder names differs where a later folder repeats an event."""
    return name in group.columns and group.columns[name].sql.isidentifier()
