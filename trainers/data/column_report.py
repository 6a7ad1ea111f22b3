"""The column report of a run: the columns of its feature table's rows, and why each has its kind.

`divisions data describe` aggregates all events. This looks at the rows that are in memory anyway, one for each
customer, and at a sample of those if they are many. How many values are missing is counted in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from divisions.schema import FLOAT32_MAX
from trainers.data.column_facts import EXAMPLE_CHARS, NUM_EXAMPLES, SAMPLE_ROWS, ColumnFacts, Figures, facts_of
from trainers.data.customer_rows import Column, Flags, Numbers, Texts
from trainers.data.label_leaks import category_auc, single_feature_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    columns = table.rows.columns
    names = [name for name in kinds if name in columns]
    if not names or not len(table):
        return ()
    sample = slice(None, None, -(-len(table) // SAMPLE_ROWS))
    labels_N = table.rows.labels_N[sample] == 1
    found = []
    for name in names:
        sampled = columns[name].take(sample)
        figures = _of_all(figures_of(sampled), columns[name], len(labels_N))
        auc = _auc(sampled, labels_N)
        found.append(facts_of(name, kinds[name].value, whys.get(name, ""), figures, auc=auc))
    return tuple(found)


def figures_of(column: Column) -> Figures:
    """The figures of a column's rows."""
    is_present_N = column.is_present_N
    present = int(is_present_N.sum())
    match column:
        case Numbers(values_N):
            values = values_N[is_present_N]
            different = np.unique(values)
            first = [_text(value) for value in _first(values)]
            numbers, counts = values, present
        case Flags(flags_N):
            different = np.unique(flags_N[is_present_N])
            first = [("false", "true")[flag] for flag in _first(flags_N[is_present_N])]
            numbers, counts = np.array([]), 0
        case Texts(codes_N, texts):
            codes = codes_N[is_present_N]
            different = np.unique(codes)
            first = [texts[code][: EXAMPLE_CHARS + 1] for code in _first(codes)]
            read = np.array([_number(texts[code]) for code in different.tolist()])
            of_code = np.full(len(texts), np.nan)
            of_code[different] = read
            numbers = of_code[codes]
            numbers = numbers[~np.isnan(numbers)]
            counts = len(numbers)
    return Figures(
        rows=len(is_present_N),
        present=present,
        distinct=len(different),
        is_constant=len(different) == 1,
        first=tuple(first),
        numbers=counts,
        minimum=float(numbers.min()) if counts else None,
        median=float(np.median(numbers)) if counts else None,
        maximum=float(numbers.max()) if counts else None,
        is_whole=bool(counts and (numbers == np.trunc(numbers)).all()),
    )


def _of_all(sampled: Figures, column: Column, num_sampled: int) -> Figures:
    """The figures of a whole column, from those of its sample and what is quickly counted."""
    is_present_N = column.is_present_N
    present, rows = int(is_present_N.sum()), len(is_present_N)
    if rows == num_sampled:
        return sampled
    scale = rows / num_sampled
    lowest, highest = sampled.minimum, sampled.maximum
    if isinstance(column, Numbers) and sampled.numbers:
        lowest, highest = float(np.nanmin(column.values_N)), float(np.nanmax(column.values_N))
    return msgspec.structs.replace(
        sampled,
        rows=rows,
        present=present,
        # Where nearly all values of a sample differ, so do those of the whole; else the sample has most of them.
        distinct=round(sampled.distinct * scale) if sampled.distinct > 0.9 * sampled.present else sampled.distinct,
        numbers=present if sampled.numbers == sampled.present else round(sampled.numbers * scale),
        minimum=lowest,
        maximum=highest,
    )


def _first(values: NDArray[Any]) -> list[Any]:
    """The first different values, in their order."""
    return list(dict.fromkeys(values[:50].tolist()))[:NUM_EXAMPLES]


def _text(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e18 else str(value)


def _number(text: str) -> float:
    """The number that a text is to a program; NaN for all others."""
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan
    return value if abs(value) <= FLOAT32_MAX else math.nan


def _auc(column: Column, labels_N: NDArray[np.bool_]) -> float | None:
    if isinstance(column, Numbers):
        auc = single_feature_auc(column.values_N, labels_N, is_category=False)
    else:
        auc = category_auc(column.codes_N + 1, labels_N)  # a missing value is a category of its own
    return None if math.isnan(auc) else round(auc, 4)
