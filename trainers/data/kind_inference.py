"""The kinds of columns that nobody declared, by counting what their values are.

Typed formats say what a value is, and CSV is asked only where no typed file has the column. A kind needs nearly all
values, so that one stray word in a million numbers costs one value, not the column. Words such as ``?`` or ``None``
among numbers are missing numbers; among texts they are texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from divisions.schema import FeatureKind
from trainers.data.engine import first_row, in_parts, text_literal
from trainers.data.raw_columns import Form, RawColumn
from trainers.data.row_groups import RowGroup
from trainers.data.spelled_numbers import is_plain

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAJORITY = 0.95
"""Share of a column's values that must fit a kind for the column to be of it."""
SOFT_WORDS = (
    *("?", "-", "--", "\u2013", "\u2014", ".", "none", "missing", "unknown", "undefined", "nil", "na", "n.a.", "n.d."),
    *("(null)", "[null]", "<na>", "not available", "#value!", "#ref!", "#div/0!", "#num!", "#name?", "#null!"),
)
"""In lower case. SAS writes a point, Oracle (null), pandas <NA>, spreadsheets the words with #."""
_SAMPLE_ROWS = 2_000
_REPEATING = 0.5
"""Share of a sample's values that differ, above which all rows are asked, and not the different values."""
_BY_FORM = {
    Form.WHOLE: "numbers",
    Form.FLOAT: "numbers",
    Form.DECIMAL: "numbers",
    Form.BOOLEAN: "flags",
    Form.TEXT: "texts",
    Form.BINARY: "texts",
    Form.TIME: "others",
    Form.OTHER: "others",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """What the values of a column are. ``soft`` counts those texts that mean "missing" in a column of numbers."""

    numbers: int = 0
    flags: int = 0
    texts: int = 0
    others: int = 0
    soft: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.numbers + other.numbers,
            self.flags + other.flags,
            self.texts + other.texts,
            self.others + other.others,
            self.soft + other.soft,
        )

    @property
    def total(self) -> int:
        return self.numbers + self.flags + self.texts + self.others


def kind_of(counts: Counts) -> FeatureKind | None:
    """The kind that nearly all values have; text where they differ; None for what cannot be a feature.

    >>> kind_of(Counts(numbers=50, texts=50)), kind_of(Counts(numbers=90, texts=10, soft=10))
    (<FeatureKind.CATEGORICAL: 'categorical'>, <FeatureKind.NUMERIC: 'numeric'>)
    """
    if not counts.total:
        return None
    hard = counts.total - counts.soft
    if counts.numbers and counts.numbers >= MAJORITY * hard:
        return FeatureKind.NUMERIC
    if counts.flags >= MAJORITY * counts.total:
        return FeatureKind.BOOLEAN
    # Lists, times and objects are no features, unless they are strays among values that are.
    return None if counts.others > max(counts.numbers, counts.flags, counts.texts) else FeatureKind.CATEGORICAL


def why_kind(kind: FeatureKind | None, counts: Counts) -> str:
    """Why a column that nobody declared has its kind: the share of its values that fit.

    >>> why_kind(FeatureKind.NUMERIC, Counts(numbers=98, texts=2))
    'inferred: 98 % of its values are numbers'
    """
    if not counts.total:
        return "inferred: it has no values"
    if kind is None:
        return f"inferred: {_percent(counts.others, counts.total)} of its values are times, lists or objects"
    if kind is FeatureKind.NUMERIC:
        soft = f", {_percent(counts.soft, counts.total)} mean missing" if counts.soft else ""
        hard = counts.total - counts.soft
        return f"inferred: {_percent(counts.numbers, hard)} of its values are numbers{soft}"
    if kind is FeatureKind.BOOLEAN:
        return f"inferred: {_percent(counts.flags, counts.total)} of its values are true or false"
    if counts.texts >= MAJORITY * counts.total:
        return f"inferred: {_percent(counts.texts, counts.total)} of its values are texts"
    return f"inferred: mixed, {_percent(counts.numbers, counts.total)} of its values are numbers"


def _percent(part: int, whole: int) -> str:
    """Never 100 % where something is missing to it.

    >>> _percent(999_999, 1_000_000), _percent(1, 1)
    ('99.99 %', '100 %')
    """
    share = 100 * part / whole
    return f"{min(share, 99.99) if part < whole else share:.4g} %"


def count_values(connection: DuckDBPyConnection, groups: Sequence[RowGroup], names: Sequence[str]) -> dict[str, Counts]:
    """What the values of each column in ``names`` are. Notes in ``groups`` which texts need no cleaning."""
    typed = _count(connection, [group for group in groups if not group.is_untyped], names)
    # An untyped file is asked only for columns without a value in any typed one.
    rest = [name for name in names if not typed[name].total]
    untyped = _count(connection, [group for group in groups if group.is_untyped], rest)
    return {name: typed[name] if typed[name].total else untyped[name] for name in names}


def _count(connection: DuckDBPyConnection, groups: Sequence[RowGroup], names: Sequence[str]) -> dict[str, Counts]:
    totals = dict.fromkeys(names, Counts())
    for group in groups:
        there = [name for name in names if name in group.columns]
        typed = [name for name in there if group.columns[name].form in _BY_FORM]
        asked = [name for name in there if group.columns[name].form not in _BY_FORM]
        for name, count in _count_present(connection, group, typed).items():
            totals[name] += replace(Counts(), **{_BY_FORM[group.columns[name].form]: count})
        if not asked:
            continue
        for name, counts in _count_texts(connection, group, asked).items():
            totals[name] += counts
    return totals


def _count_present(connection: DuckDBPyConnection, group: RowGroup, names: Sequence[str]) -> dict[str, int]:
    """How many values of columns are not missing, where the file does not say it."""
    found = {name: group.present[name] for name in names if name in group.present}
    for part in in_parts([name for name in names if name not in found]):
        counts = ", ".join(f"count(*) FILTER (WHERE {group.columns[name].is_present})" for name in part)
        found |= zip(part, first_row(connection, f"SELECT {counts} FROM {group.relation}"), strict=True)
    return found


def _count_texts(connection: DuckDBPyConnection, group: RowGroup, names: Sequence[str]) -> dict[str, Counts]:
    """What the values of columns are whose type does not say it."""
    found: dict[str, Counts] = {}
    rest = []
    for name, is_repeating in zip(names, _are_repeating(connection, group, names), strict=True):
        column = group.columns[name]
        if not is_repeating:
            rest.append(name)
            continue
        # Each different value is asked once. To group a million values costs less than to ask a hundred thousand.
        value = replace(column, sql="v")
        values = f"SELECT {column.sql} AS v, count(*) AS n FROM {group.relation} WHERE flaw IS NULL GROUP BY v"
        texts = f"SELECT v, n, {value.text} AS t FROM ({values})"
        is_clean = "coalesce(bool_and(t IS NOT DISTINCT FROM v), true)"
        *counts, all_clean = first_row(connection, f"SELECT {_sums(value, 't', 'sum(n)')}, {is_clean} FROM ({texts})")
        found[name] = Counts(*counts)
        if all_clean and column.form is Form.UNTYPED:
            group.columns[name] = replace(column, is_clean=True)
    for part in in_parts(rest):
        columns = [group.columns[name] for name in part]
        # Each text is made once, and asked often.
        texts = ", ".join(f"{column.text} AS t{index}" for index, column in enumerate(columns))
        sums = ", ".join(_sums(column, f"t{index}", "count(*)") for index, column in enumerate(columns))
        row = first_row(connection, f"SELECT {sums} FROM (SELECT *, {texts} FROM {group.relation} WHERE flaw IS NULL)")
        found |= {name: Counts(*row[index * 5 : index * 5 + 5]) for index, name in enumerate(part)}
    return found


def _are_repeating(connection: DuckDBPyConnection, group: RowGroup, names: Sequence[str]) -> list[bool]:
    """Whether columns have few different values, as far as a sample shows it."""
    found: list[bool] = []
    for part in in_parts(names):
        facts = ", ".join(f"count(DISTINCT nullif({group.columns[name].sql}, ''))" for name in part)
        sample = f"SELECT * FROM {group.relation} WHERE flaw IS NULL LIMIT {_SAMPLE_ROWS}"
        rows, *distinct = first_row(connection, f"SELECT count(*), {facts} FROM ({sample})")
        # Columns without a value are asked together, as those whose values differ.
        found += [0 < count <= _REPEATING * rows for count in distinct]
    return found


def _sums(column: RawColumn, text: str, count: str) -> str:
    """The five counts. ``count`` is the aggregate that counts rows."""
    soft = ", ".join(text_literal(word) for word in SOFT_WORDS)
    is_soft = f"lower({text}) IN ({soft})"
    if column.form is Form.JSON:
        first = f"{column.sql}[1]"
        is_number = f"({first} BETWEEN '0' AND '9' OR {first} = '-')"
        conditions = (
            is_number,
            f"{first} IN ('t', 'f')",
            f"{first} = '\"' AND {column.is_present}",
            f"{first} IN ('[', '{{')",
            f"{first} = '\"' AND {is_soft}",
        )
    else:
        is_number = is_plain(text)
        is_flag = f"lower({text}) IN ('true', 'false')"
        conditions = (
            is_number,
            is_flag,
            f"{text} IS NOT NULL AND NOT {is_number} AND NOT {is_flag}",
            "false",
            is_soft,
        )
    return ", ".join(f"coalesce({count} FILTER (WHERE {condition}), 0)::BIGINT" for condition in conditions)
