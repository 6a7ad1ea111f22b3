"""What the texts of a column show about the spelling of its numbers: one query over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.data.engine import first_row, in_parts, text_literal
from trainers.data.kind_inference import MAJORITY, SOFT_WORDS
from trainers.data.raw_columns import RawColumn
from trainers.data.spelled_numbers import COMMA, POINT, Spelling, is_plain, unit_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SAMPLE_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """Counts of a column's texts, missing ones left out.

    Attributes:
        total: all of them.
        soft: those that mean "missing" among numbers.
        point: numbers if the point is the decimal mark; plain ones count.
        comma: numbers if the comma is; plain ones without a decimal point count.
        only_point: numbers by the first reading only, such as ``1.5``.
        only_comma: numbers by the second reading only, such as ``1,5``.
        open_point: numbers by both readings that hold a point, such as ``1.200``.
        open_comma: the same with a comma, such as ``1,200``.
        bare: numbers other than 0 without a unit.
        spelled: numbers that are not plain.
        units: the units beside the numbers, sorted.
        example: one of ``spelled``, else one of ``open_point``, else empty.
    """

    total: int
    soft: int = 0
    point: int = 0
    comma: int = 0
    only_point: int = 0
    only_comma: int = 0
    open_point: int = 0
    open_comma: int = 0
    bare: int = 0
    spelled: int = 0
    units: tuple[str, ...] = ()
    example: str = ""

    @property
    def hard(self) -> int:
        return self.total - self.soft

    def count(self, spelling: Spelling) -> int:
        return self.point if spelling.decimal == "." else self.comma


def has_spelled_numbers(connection: DuckDBPyConnection, relation: str, column: RawColumn) -> bool:
    """Whether half of the texts that are no plain numbers, in a sample, are numbers in some spelling."""
    shares = first_row(
        connection,
        f"SELECT avg(({POINT.is_number('v')} OR {COMMA.is_number('v')})::INTEGER) FROM ({_values(relation, column)}"
        f" WHERE v IS NOT NULL AND NOT {is_plain('v')} AND NOT {_is_soft('v')} LIMIT {_SAMPLE_ROWS})",
    )
    return shares[0] is not None and shares[0] >= 0.5


def with_digits(
    connection: DuckDBPyConnection, relation: str, columns: Mapping[str, RawColumn], names: Sequence[str]
) -> list[str]:
    """Those of ``names`` where nearly all values of a sample have a digit. Only these may be numbers, in any spelling.

    The patterns of numbers take longer to compile than a sample takes to look at.
    """
    found: list[float | None] = []
    for part in in_parts(names):
        values = ", ".join(f"CASE WHEN {columns[name].is_text} THEN {columns[name].text} END" for name in part)
        shares = ", ".join(
            f"avg(regexp_matches(v{index}, '[0-9]')::INTEGER) FILTER (WHERE NOT {_is_soft(f'v{index}')})"
            for index in range(len(part))
        )
        aliases = ", ".join(f"v{index}" for index in range(len(part)))
        sample = f"SELECT {values} FROM {relation} WHERE flaw IS NULL LIMIT {_SAMPLE_ROWS}"
        found += first_row(connection, f"SELECT {shares} FROM ({sample}) AS t({aliases})")
    return [name for name, share in zip(names, found, strict=True) if share is not None and share >= MAJORITY]


def with_groups_of_three(
    connection: DuckDBPyConnection, relation: str, columns: Mapping[str, RawColumn], names: Sequence[str]
) -> list[str]:
    """Those of ``names`` that have points, and each with three digits after it, as in ``1.200``."""
    pattern = text_literal("[+-]?[1-9][0-9]{0,2}([.][0-9]{3})+")
    found: list[bool | None] = []
    for part in in_parts(names):
        facts = ", ".join(
            f"bool_and(regexp_full_match({columns[name].sql}, {pattern}))"
            f" FILTER (WHERE contains({columns[name].sql}, '.'))"
            for name in part
        )
        found += first_row(connection, f"SELECT {facts} FROM {relation} WHERE flaw IS NULL")
    return [name for name, is_grouped in zip(names, found, strict=True) if is_grouped]


def number_like(
    connection: DuckDBPyConnection, relation: str, columns: Mapping[str, RawColumn], names: Sequence[str]
) -> dict[str, str]:
    """One value of each column of texts in ``names`` where nearly all of a sample are numbers in some spelling.

    Digits of one length are codes, such as area codes, and no numbers. The patterns of numbers are compiled once for
    many columns: that takes longer than to look at a sample.
    """
    found: dict[str, str] = {}
    for part in in_parts(names):
        values = ", ".join(f"CASE WHEN {columns[name].is_text} THEN {columns[name].text} END" for name in part)
        sample = f"SELECT [{values}] AS texts FROM {relation} WHERE flaw IS NULL LIMIT {_SAMPLE_ROWS}"
        rows = connection.execute(
            "SELECT place, max(v) FROM ("
            f"SELECT unnest(range({len(part)})) AS place, unnest(texts) AS v FROM ({sample})"
            f") WHERE v IS NOT NULL AND NOT {_is_soft('v')} GROUP BY place"
            f" HAVING avg(({POINT.is_number('v')} OR {COMMA.is_number('v')})::INTEGER) >= {MAJORITY}"
            " AND NOT (bool_and(regexp_full_match(v, '[0-9]+')) AND min(length(v)) = max(length(v)))"
        ).fetchall()
        found |= {part[place]: example for place, example in rows}
    return {name: found[name] for name in names if name in found}


def gather(connection: DuckDBPyConnection, relation: str, column: RawColumn, declared: Spelling | None) -> Evidence:
    """Counts all texts of a column. A declared spelling takes the place of those with its decimal mark."""
    point, comma = (declared if declared and declared.decimal == each.decimal else each for each in (POINT, COMMA))
    tests = {
        "p": point.is_number("v"),
        "c": comma.is_number("v"),
        "u": unit_of("v"),
        "is_soft": _is_soft("v"),
        "is_plain": is_plain("v"),
    }
    tested = ", ".join(f"{sql} AS {name}" for name, sql in tests.items())
    conditions = {
        "total": "v IS NOT NULL",
        "soft": "is_soft",
        "point": "p",
        "comma": "c",
        "only_point": "p AND NOT c",
        "only_comma": "c AND NOT p",
        "open_point": "p AND c AND contains(v, '.')",
        "open_comma": "p AND c AND contains(v, ',')",
        "bare": "(p OR c) AND u = '' AND regexp_matches(v, '[1-9]')",
        "spelled": "(p OR c) AND NOT is_plain",
    }
    sums = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions.values())
    *counts, units, example = first_row(
        connection,
        f"SELECT {sums}, list(DISTINCT u) FILTER (WHERE (p OR c) AND u <> ''),"
        " coalesce(min(v) FILTER (WHERE (p OR c) AND NOT is_plain), min(v) FILTER (WHERE p AND c AND contains(v, '.')))"
        f" FROM (SELECT v, {tested} FROM ({_values(relation, column)}))",
    )
    named: dict[str, int] = dict(zip(conditions, counts, strict=True))
    return Evidence(**named, units=tuple(sorted(units or ())), example=example or "")


def frequent_strays(
    connection: DuckDBPyConnection, relation: str, column: RawColumn, declared: Spelling | None, count: int = 3
) -> dict[str, int]:
    """The most frequent texts that are no numbers in any spelling, or in the declared one, and their counts."""
    readings = (declared,) if declared is not None else (POINT, COMMA)
    is_number = " OR ".join(reading.is_number("v") for reading in readings)
    rows = connection.execute(
        f"SELECT v, count(*) FROM ({_values(relation, column)}) WHERE v IS NOT NULL AND NOT ({is_number})"
        f" AND NOT {_is_soft('v')} GROUP BY v ORDER BY 2 DESC, 1 LIMIT {count}"
    ).fetchall()
    return dict(rows)


def _values(relation: str, column: RawColumn) -> str:
    # An inner query of its own, so that a WHERE can follow it and ask for ``v``.
    inner = f"SELECT CASE WHEN {column.is_text} THEN {column.text} END AS v FROM {relation} WHERE flaw IS NULL"
    return f"SELECT v FROM ({inner})"


def _is_soft(text: str) -> str:
    return f"lower({text}) IN ({', '.join(text_literal(word) for word in SOFT_WORDS)})"
