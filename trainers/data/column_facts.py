"""What the values of columns are: how many are missing and differ, examples, and what is suspicious about them.

The figures come from the engine, some columns at a time, in bounded memory. How many values differ is estimated
(HyperLogLog, within a few per cent), and so is the median.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from trainers.data.label_leaks import LEAK_AUC, single_feature_auc

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

CHUNK = 32
"""Columns per query. Each needs an estimator and some examples in memory."""
SAMPLE_ROWS = 50_000
NUM_EXAMPLES, EXAMPLE_CHARS = 3, 40
_CANDIDATES = 50
DOUBT = "maybe an id"
"""Begins a suspicion that may well be wrong: amounts in cents differ in nearly every row, too."""
MIN_ROWS_OF_IDS = 50
"""With fewer rows, values that all differ are nothing special."""


class ColumnFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One column. ``kind`` is the feature's kind, the column's role, or why it is none; ``why`` says who decided it.

    ``minimum``, ``median`` and ``maximum`` are those of the values that read as numbers; None if there is none.
    """

    name: str
    kind: str
    why: str
    missing: int
    distinct: int
    examples: tuple[str, ...] = ()
    minimum: float | None = None
    median: float | None = None
    maximum: float | None = None
    label_auc: float | None = None
    suspicion: str = ""


class Figures(msgspec.Struct, frozen=True):
    """What the engine says about a column, of ``rows`` rows."""

    rows: int
    present: int
    distinct: int
    is_constant: bool
    first: tuple[str, ...]
    numbers: int
    minimum: float | None
    median: float | None
    maximum: float | None
    is_whole: bool


Source = Callable[[Sequence[int]], str]
"""Makes a subquery with ``id``, ``label`` and, per index i of a column, ``t<i>`` (its text, or null) and ``n<i>`` (its
number, or null)."""


def measure(connection: DuckDBPyConnection, source: Source, count: int) -> list[Figures]:
    """The figures of columns 0 to ``count`` - 1."""
    found: list[Figures] = []
    for start in range(0, count, CHUNK):
        indices = range(start, min(start + CHUNK, count))
        sql = ", ".join(_aggregates(index) for index in indices)
        row = connection.execute(f"SELECT count(*), {sql} FROM {source(indices)}").fetchall()[0]
        width = (len(row) - 1) // len(indices)
        found += [_figures(row[0], row[1 + place * width :][:width]) for place in range(len(indices))]
    return found


def _aggregates(index: int) -> str:
    text, number = f"t{index}", f"n{index}"
    return (
        f"count({text}), approx_count_distinct({text}), min(left({text}, 200)) = max(left({text}, 200)),"
        f" arg_min(left({text}, {EXAMPLE_CHARS + 1}), id, {_CANDIDATES}) FILTER ({text} IS NOT NULL),"
        f" count({number}), min({number}), approx_quantile({number}, 0.5), max({number}), bool_and({number} ="
        f" trunc({number}))"
    )


def _figures(rows: int, values: Sequence[Any]) -> Figures:
    present, distinct, is_constant, first, numbers, minimum, median, maximum, is_whole = values
    return Figures(
        rows,
        present,
        1 if is_constant else min(distinct, present),
        bool(is_constant),
        tuple(dict.fromkeys(first or ())),
        numbers,
        minimum,
        median,
        maximum,
        bool(is_whole),
    )


def facts_of(
    name: str, kind: str, why: str, figures: Figures, *, is_feature: bool = True, auc: float | None = None
) -> ColumnFacts:
    """The facts of a column, from its figures. Pure.

    Args:
        is_feature: whether the column may become a feature; only then it can be suspicious.
        auc: how well it alone tells the label (see `trainers.data.label_leaks`); None where unknown.
    """
    numbers = figures if kind not in {"categorical", "boolean"} and figures.numbers else None
    return ColumnFacts(
        name=name,
        kind=kind,
        why=why,
        missing=figures.rows - figures.present,
        distinct=figures.distinct,
        examples=tuple(visible(text) for text in figures.first[:NUM_EXAMPLES]),
        minimum=numbers.minimum if numbers else None,
        median=numbers.median if numbers else None,
        maximum=numbers.maximum if numbers else None,
        label_auc=auc,
        suspicion=suspicion(figures, auc) if is_feature else "",
    )


def suspicion(figures: Figures, auc: float | None) -> str:
    """Why a column may be no good feature; empty if nothing is odd about it. Pure."""
    if not figures.present:
        return "empty"
    if auc is not None and auc > LEAK_AUC:
        return f"nearly the label: alone it has an AUC of {auc:.3f}"
    if figures.is_constant and figures.present == figures.rows:
        return "constant"
    # The number of different values is an estimate, within a few per cent.
    if figures.present < MIN_ROWS_OF_IDS or figures.distinct < 0.9 * figures.present:
        return ""
    if figures.numbers < figures.present:
        return "id: nearly every row has a value of its own"
    if not figures.is_whole or figures.minimum is None or figures.maximum is None:
        return ""  # measurements differ, too
    is_gapless = figures.maximum - figures.minimum == figures.present - 1
    return "row number" if is_gapless else f"{DOUBT}: nearly every row has a whole number of its own"


def visible(text: str, max_chars: int = EXAMPLE_CHARS) -> str:
    """A value as one line of bounded length. Control characters are escaped, so that they can be seen and do no harm.

    >>> visible("a\\tb\\x1b[31m")
    'a\\\\tb\\\\x1b[31m'
    """
    cut = text[:max_chars] + ("…" if len(text) > max_chars else "")
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character)[0] in "CZ" and character != " "
        else character
        for character in cut
    )


def label_aucs(
    connection: DuckDBPyConnection, source: Source, are_categories: Sequence[bool], num_rows: int
) -> list[float | None]:
    """How well each column alone tells the label, by a sample of the rows.

    The sample depends on the rows' ``id`` only, not on chance.
    """
    every = max(1, num_rows // SAMPLE_ROWS)
    found: list[float | None] = []
    for start in range(0, len(are_categories), CHUNK):
        indices = range(start, min(start + CHUNK, len(are_categories)))
        names = ", ".join(f"{'t' if are_categories[index] else 'n'}{index}" for index in indices)
        table: pa.Table = connection.sql(
            f"SELECT label, {names} FROM {source(indices)}"
            f" WHERE label IS NOT NULL AND hash(id) % {every} = 0 ORDER BY id"
        ).to_arrow_table()
        labels_N = table.column(0).to_numpy(zero_copy_only=False).astype(bool)
        found += [
            _auc(table.column(1 + place), labels_N, is_category=are_categories[index])
            for place, index in enumerate(indices)
        ]
    return found


def _auc(column: pa.ChunkedArray, labels_N: np.ndarray, *, is_category: bool) -> float | None:
    import pyarrow.compute as pc

    if is_category:
        codes = pc.dictionary_encode(column).combine_chunks().indices
        values_N = codes.to_numpy(zero_copy_only=False).astype(np.float64)
    else:
        values_N = column.to_numpy(zero_copy_only=False).astype(np.float64)
    auc = single_feature_auc(values_N, labels_N, is_category=is_category)
    return None if np.isnan(auc) else round(auc, 4)
