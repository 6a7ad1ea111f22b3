"""Texts with blanks at their ends: they are read without them, and that is told. ``c-1 `` is the customer ``c-1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainers.data.engine import first_row, in_parts
from trainers.data.raw_columns import Form, RawColumn
from trainers.data.row_groups import RowGroup

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MAX_SHOWN = 10


def trimmed_note(connection: DuckDBPyConnection, groups: Sequence[RowGroup], names: Sequence[str]) -> list[str]:
    """A note with the columns among ``names`` that have such texts, how many, and one of them."""
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    for group in groups:
        asked = [name for name in names if name in group.columns and _has_texts(group.columns[name])]
        for part in in_parts(asked):
            facts = ", ".join(
                f"count(*) FILTER (WHERE {_is_trimmed(group.columns[name])}),"
                f" min(CASE WHEN {_is_trimmed(group.columns[name])} THEN {_spelled(group.columns[name])} END)"
                for name in part
            )
            found = first_row(connection, f"SELECT {facts} FROM {group.relation} WHERE flaw IS NULL")
            for name, count, example in zip(part, found[::2], found[1::2], strict=True):
                if count:
                    counts[name] = counts.get(name, 0) + count
                    examples.setdefault(name, example)
    if not counts:
        return []
    listed = ", ".join(f"{name!r} ({count:,})" for name, count in list(counts.items())[:_MAX_SHOWN])
    others = f" and {len(counts) - _MAX_SHOWN} others" if len(counts) > _MAX_SHOWN else ""
    text = next(iter(examples.values()))[:40]
    return [f"blanks at the ends of values are not read, in the columns {listed}{others}: such as {text!r}"]


def _has_texts(column: RawColumn) -> bool:
    return column.form in {Form.UNTYPED, Form.TEXT, Form.JSON} and column.sql.isidentifier() and not column.is_clean


def _spelled(column: RawColumn) -> str:
    return f"json_extract_string({column.sql}, '$')" if column.form is Form.JSON else f"({column.sql})::VARCHAR"


def _is_trimmed(column: RawColumn) -> str:
    """BOOLEAN: there is a blank at an end, and something between. Few texts have one, so that is asked first."""
    if column.form is Form.JSON:  # in quotes
        has_blank = f"{column.sql}[1] = '\"' AND ({column.sql}[2] < '!' OR {column.sql}[-2] < '!')"
    else:
        text = f"(({column.sql})::VARCHAR)"
        has_blank = f"{text} < '!' OR {text}[-1] < '!'"
    return f"(CASE WHEN {has_blank} THEN {column.text} IS NOT NULL ELSE false END)"
