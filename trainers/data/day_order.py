"""Whether day or month comes first in event times such as ``14/01/2025``, where the column itself shows it.

A number above 12 is no month. If one of the two numbers is above 12 somewhere in the column, and the other one never,
then the order is known for all of its values. Otherwise it is not guessed: the times stay unreadable until
``data_prep.format.event_time_format`` is declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divisions.errors import InputError
from trainers.data.engine import first_row, text_literal
from trainers.data.raw_columns import Form
from trainers.data.row_groups import RowGroup

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SAMPLE_ROWS = 1_000
_TWO_NUMBERS = r"^([0-9]{1,2})([./-])([0-9]{1,2})[./-]([0-9]{4})([ T,].*)?$"
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p", ", %I:%M:%S %p", "T%H:%M:%S")


@dataclass(frozen=True, slots=True)
class DayOrder:
    """The formats of a column's times; empty if they are none of this kind, or if the order is unknown."""

    formats: tuple[str, ...] = ()
    note: str = ""


def declared_order(connection: DuckDBPyConnection, form: str) -> DayOrder:
    """The declared format as it is.

    Raises:
        InputError: it is no format.
    """
    import duckdb

    try:
        connection.execute(f"SELECT TRY(strptime('', {text_literal(form)}))").fetchall()
    except duckdb.Error as error:
        raise InputError(
            f"data_prep.format.event_time_format {form!r} is no format: {str(error).splitlines()[0]}",
            remedy="write it as strptime takes it, such as %d/%m/%Y",
        ) from None
    return DayOrder((form,))


def find_day_order(connection: DuckDBPyConnection, groups: Sequence[RowGroup], name: str) -> DayOrder:
    """Looks at all values of a column, if its first ones are times of this kind."""
    firsts, seconds, separators, example = 0, 0, "", ""
    for group in groups:
        column = group.columns.get(name)
        if column is None or column.form not in {Form.UNTYPED, Form.TEXT, Form.BINARY, Form.JSON}:
            continue
        is_one = f"regexp_matches(value, {text_literal(_TWO_NUMBERS)})"
        values = f"SELECT {column.text} AS value FROM {group.relation} WHERE flaw IS NULL"
        (found,) = first_row(connection, f"SELECT count(*) FROM ({values} LIMIT {_SAMPLE_ROWS}) WHERE {is_one}")
        if not found:
            continue
        first, second, marks, such = first_row(
            connection,
            f"SELECT {_greatest(1)}, {_greatest(3)}, string_agg(DISTINCT {_part(2)}, ''), min(value)"
            f" FROM ({values}) WHERE {is_one}",
        )
        firsts, seconds = max(firsts, first), max(seconds, second)
        separators, example = separators + marks, example or such
    return _decide(name, firsts, seconds, sorted(set(separators)), example)


def _decide(name: str, greatest_first: int, greatest_second: int, separators: list[str], example: str) -> DayOrder:
    """
    >>> _decide("at", 14, 2, ["/"], "14/01/2025").formats[:2]
    ('%d/%m/%Y', '%d/%m/%Y %H:%M:%S')
    >>> _decide("at", 12, 2, ["/"], "12/01/2025"), _decide("at", 14, 13, ["/"], "14/01/2025")
    (DayOrder(formats=(), note=''), DayOrder(formats=(), note=''))
    """
    if (greatest_first > 12) == (greatest_second > 12):
        return DayOrder()
    first, second, word = ("%d", "%m", "day") if greatest_first > 12 else ("%m", "%d", "month")
    days = [separator.join((first, second, "%Y")) for separator in separators]
    return DayOrder(
        tuple(day + clock for day in days for clock in _CLOCKS),
        f"column {name!r}: times such as {example[:40]!r} are read with the {word} first, since the other number is"
        f" never above 12; declare data_prep.format.event_time_format, such as {days[0]!r}, to make that permanent",
    )


def _part(number: int) -> str:
    return f"regexp_extract(value, {text_literal(_TWO_NUMBERS)}, {number})"


def _greatest(number: int) -> str:
    return f"coalesce(max(TRY_CAST({_part(number)} AS INTEGER)), 0)"
