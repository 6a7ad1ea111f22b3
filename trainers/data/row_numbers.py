"""Columns that number the rows. They say in which order a file was written, and a model would learn that.

=====================================================  =====================================================
``__index_level_0__``, ``Unnamed: 0``                  always: pandas writes an index without a name so
``index``, ``level_0``, ``RowNumber``, ``_c0``, ...    if its numbers are whole and all different
any other name                                         if it counts the rows of each file from 0 or 1, one by one
=====================================================  =====================================================

An index with a name of its own is data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainers.data.engine import first_row
from trainers.data.raw_columns import Form, RawColumn
from trainers.data.row_groups import ROW_BITS, RowGroup

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MIN_ROWS = 50
"""With fewer rows, a column may count by chance: months 1 to 12 in their order."""
_SAMPLE_ROWS = 500
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+(\.\d+)*|_?level_\d+|\.\.\.1")
_ALWAYS = re.compile(r"__index_level_\d+__|Unnamed: \d+(\.\d+)*")
# Without case and punctuation. ...1 and row.names are R's, _c0 is Spark's, the rest are people's. Short names such as n
# and x may mean anything: they are found by counting only.
_NAMES = {
    *("index", "idx", "c0", "row", "rows", "rownames", "rowname", "slno", "srno", "lfdnr"),
    *("rownumber", "rownum", "rowno", "rownr", "rowid", "rowindex", "recordnumber", "recordno", "recno", "recordid"),
    *("serialno", "serialnumber", "seqno", "sequencenumber", "lineno", "linenumber"),
}
_NUMBERS = {Form.UNTYPED, Form.WHOLE, Form.FLOAT, Form.DECIMAL, Form.JSON}


def find_row_numbers(connection: DuckDBPyConnection, groups: Sequence[RowGroup], names: Sequence[str]) -> list[str]:
    """Those of ``names`` that number the rows."""
    return [name for name in names if _ALWAYS.fullmatch(name)] + [
        name for name in _candidates(connection, groups, names) if _is_row_number(connection, groups, name)
    ]


def _has_usual_name(name: str) -> bool:
    return _INDEX.fullmatch(name) is not None or re.sub(r"[\W_]", "", name).lower() in _NAMES


def _candidates(connection: DuckDBPyConnection, groups: Sequence[RowGroup], names: Sequence[str]) -> list[str]:
    """The columns that the first rows of each file do not rule out."""
    left = {name for name in names if not _ALWAYS.fullmatch(name)}
    for group in groups:
        asked = [name for name, column in group.columns.items() if name in left]
        left -= {name for name in asked if group.columns[name].form not in _NUMBERS}
        asked = [name for name in asked if name in left and not _has_usual_name(name)]
        if not asked:
            continue
        values = ", ".join(f"{_number(group.columns[name])} AS n{index}" for index, name in enumerate(asked))
        rows = connection.execute(
            f"SELECT {_AT} AS place, {_FILE} AS file, {values} FROM {group.relation} WHERE flaw IS NULL"
            f" LIMIT {_SAMPLE_ROWS}"
        ).fetchall()
        num_files = len({file for _, file, *_ in rows})
        for index, name in enumerate(asked, start=2):
            # Within a file, what is added to the row's place is always the same.
            if any(row[index] is None for row in rows) or len({row[index] - row[0] for row in rows}) > num_files:
                left.discard(name)
    return [name for name in names if name in left]


def _is_row_number(connection: DuckDBPyConnection, groups: Sequence[RowGroup], name: str) -> bool:
    total, first = 0, None
    for group in groups:
        if name not in group.columns:
            continue
        number = _number(group.columns[name])
        if _has_usual_name(name):
            is_whole = f"count({number}) = count(*) AND bool_and({number} = trunc({number}))"
            is_each_once = f"{is_whole} AND count(DISTINCT {number}) = count(*)"
            query = f"SELECT {is_each_once}, count(*), 0 FROM {group.relation} WHERE flaw IS NULL"
        else:
            query = (
                "SELECT bool_and(is_counting), sum(rows)::BIGINT, min(first) FROM ("
                f"SELECT count({number}) = count(*) AND min({number} - {_AT}) = max({number} - {_AT}) AS is_counting,"
                f" count(*) AS rows, min({number}) AS first FROM {group.relation} WHERE flaw IS NULL GROUP BY {_FILE})"
            )
        is_counting, rows, lowest = first_row(connection, query)
        if not is_counting:
            return False
        total += rows
        first = lowest if first is None else min(first, lowest)
    return first in {0, 1} and total >= (2 if _has_usual_name(name) else MIN_ROWS)


def _number(column: RawColumn) -> str:
    return f"({column.number})"


_AT = f"(id & {(1 << ROW_BITS) - 1})"
_FILE = f"(id >> {ROW_BITS})"
