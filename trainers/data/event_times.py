"""Event times as SQL: from timestamps, text and numbers, to microseconds in UTC.

Text is ISO 8601, or another spelling that can only be read in one way, such as ``14JAN2025:02:00:00`` (SAS). Day and
month as two numbers can be read in two ways. They need a declaration, unless the column shows the order: see
`trainers.data.day_order`.

A number is days (``20250114``), a day with its time (``20250114020000``), or seconds, milliseconds, microseconds or
nanoseconds since the Unix epoch. The ranges do not overlap: times before 1990 are not accepted as numbers. So a year, a
month (``202501``) or a spreadsheet's day number (``45671``) is never taken for some second of 1970; `hint` says what
it looks like instead.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainers.data.engine import text_literal
from trainers.data.raw_columns import Form, RawColumn, list_literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EARLIEST_S = 631_152_000  # 1990-01-01: earlier numbers are rather years, months or day numbers than seconds
LATEST_S = 7_258_118_400  # 2200-01-01
EARLIEST_NS = 662_688_000 * 10**9  # 1991-01-01: .NET's ticks of 2000 to 2100 look like nanoseconds of 1990
_UNITS = {"seconds": 1_000_000.0, "milliseconds": 1_000.0, "microseconds": 1.0, "nanoseconds": 0.001}
_DAY, _CLOCK = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}", r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_ZONE = r"( ?(Z|UTC|GMT)|[+-][0-9]{2}(:?[0-9]{2})?| [A-Z][A-Za-z_]+/[A-Za-z_/]+)?"
_ISO = f"{_DAY}({_CLOCK}{_ZONE})?"
_ISO_OF_UTC = f"{_DAY}({_CLOCK})?"
# Each step brings one other spelling of ISO 8601 into the one that DuckDB reads.
_REWRITES = (
    (r"\[[A-Za-z_/]+\]$", ""),  # Java: 2025-01-14T02:00+01:00[Europe/Berlin]
    (r"^([0-9]{4})[/.]([0-9]{1,2})[/.]([0-9]{1,2})", r"\1-\2-\3"),
    (r"^([0-9]{4})([0-9]{2})([0-9]{2})([T ].*)?$", r"\1-\2-\3\4"),
    (r"^([0-9]{4}-[0-9]{2})$", r"\1-01"),
    (r"^([0-9-]+)t", r"\1T"),
    (r"^([0-9-]+[T ])([0-9]:)", r"\10\2"),
    (r"^([0-9-]+)[T ]([0-9]{2})([0-9]{2})([0-9]{2})", r"\1T\2:\3:\4"),
    (r"^([0-9-]+)[T ]([0-9]{2})([0-9]{2})([^0-9:].*)?$", r"\1T\2:\3\4"),
    (r"^([0-9-]+)[T ]([0-9]{2})([^0-9:].*)?$", r"\1T\2:00\3"),
    (r",([0-9])", r".\1"),
    (r"(:[0-9.]+) ?([+-][0-9]{2}:?[0-9]{2})( UTC)?$", r"\1\2"),  # Snowflake, Go
    (r" ?(z|utc|gmt|UTC|GMT|Z)$", "Z"),
)
# Months with names leave no doubt about the order, unless the year has two digits only.
_NAMED_MONTHS = (
    *("%d%b%Y:%H:%M:%S.%f", "%d%b%Y:%H:%M:%S", "%d%b%Y", "%d%b%Y %H:%M:%S"),  # SAS
    *("%d-%b-%Y %H:%M:%S.%f", "%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M", "%d-%b-%Y"),  # Oracle, Postgres
    *("%d %b %Y %H:%M:%S", "%d %b %Y", "%d %B %Y", "%d. %B %Y", "%d/%b/%Y", "%d/%b/%Y:%H:%M:%S %z"),  # web servers
    *("%b %d, %Y %I:%M:%S %p", "%b %d, %Y, %I:%M %p", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%A, %B %d, %Y"),
    *("%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y"),  # mail, Java, C
)
_HAS_MONTH_NAME = "(?i)(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
# Numbers that are digits of a date, by their first and last value: no unit of time since 1970 uses these ranges.
_DIGITS = (
    (19_000_101, 22_001_231, "%Y%m%d"),
    (190_001_010_000, 220_012_312_359, "%Y%m%d%H%M"),
    (19_000_101_000_000, 22_001_231_235_959, "%Y%m%d%H%M%S"),
)


def event_time(column: RawColumn, formats: Sequence[str] = ()) -> str:
    """TIMESTAMP in UTC; null where the value is none.

    Args:
        column: the event time's column.
        formats: of the values, as ``strptime`` takes them: declared, or found by `trainers.data.day_order`. A
            value that has none of them is read as if nothing were declared, if it is a number.
    """
    match column.form:
        case Form.TIME:
            # The engine's time zone is UTC, and this way a timestamp without a zone costs nothing.
            moment = f"TRY_CAST({column.sql} AS TIMESTAMP)"
            return f"(CASE WHEN isfinite({moment}) THEN {moment} END)"
        case Form.BOOLEAN | Form.OTHER:
            return "NULL::TIMESTAMP"
        case Form.WHOLE | Form.FLOAT | Form.DECIMAL:
            number = _from_number(f"({column.sql})::DOUBLE")
            return f"COALESCE({_parsed(column.text, formats)}, {number})" if formats else number
    text = column.text
    number = f"TRY_CAST({text} AS DOUBLE)"
    if column.form is Form.JSON:
        number = f"(CASE WHEN {column.sql}[1] NOT IN ('t', 'f') THEN {number} END)"
    found = f"COALESCE({_parsed(text, formats) if formats else _from_text(text)}, {_from_number(number)})"
    is_word = any(re.fullmatch(_ISO_OF_UTC, word) for word in column.missing)
    if formats or is_word or column.form not in {Form.UNTYPED, Form.TEXT}:
        return found
    # Nearly all texts are so. Where no such day exists, no other reading finds one.
    given = column.sql if column.form is Form.UNTYPED else f"({column.sql})::VARCHAR"
    is_usual = f"regexp_full_match({given}, {text_literal(_ISO_OF_UTC)})"
    return f"(CASE WHEN {is_usual} THEN TRY_CAST({given} AS TIMESTAMP) ELSE {found} END)"


def hint(value: str) -> str:
    """Why a value is no event time, as far as it can be told.

    >>> hint("202501")
    'a month, not a time: write its first day, such as 2025-01-01, or declare data_prep.format.event_time_format: %Y%m'
    >>> hint("14/01/2025")
    'day and month may be either way round: declare data_prep.format.event_time_format, such as %d/%m/%Y'
    """
    text = value.strip()
    if re.fullmatch(r"\d{1,2}([./-])\d{1,2}\1\d{2,4}.*", text):
        separator = re.sub(r"\d", "", text)[0]
        form = separator.join(("%d", "%m", "%Y" if re.match(r"\d+\D\d+\D\d{4}", text) else "%y"))
        return f"day and month may be either way round: {_DECLARE}, such as {form}"
    if re.fullmatch(r"(?i)\d{1,2}[ -]?[a-z]{3}[ -]?\d{2}", text):
        return f"day and year may be either way round: {_DECLARE}, such as %d-%b-%y"
    if not re.fullmatch(r"\d+(\.\d*)?", text):
        return ""
    digits = text.partition(".")[0]
    if digits.startswith("6") and len(digits) == 18:
        return "ticks of .NET, or nanoseconds of 1990: write times as 2025-01-14T02:00:00Z"
    match len(digits):
        case 4:
            return f"a year, not a time: write a day, such as 2025-01-01, or {_DECLARE}: %Y"
        case 5:
            return (
                "a day number of a spreadsheet or of the form YYDDD, not a time: write days as 2025-01-14"
                f" (for YYDDD, {_DECLARE}: %y%j)"
            )
        case 6 if digits[:2] in {"19", "20"} and digits[4:] <= "12":
            return (
                f"a month, not a time: write its first day, such as {digits[:4]}-{digits[4:]}-01, or {_DECLARE}: %Y%m"
            )
        case 6:
            return f"a day of the form YYMMDD, not a time: write days as 2025-01-14, or {_DECLARE}: %y%m%d"
        case 7 if digits[:2] in {"19", "20"}:
            return f"a day of the form YYYYDDD, not a time: write days as 2025-01-14, or {_DECLARE}: %Y%j"
    return "neither a day such as 20250114 nor seconds since 1970, from 1990 to 2200"


HINT = "divisions_hint"
_DECLARE = "declare data_prep.format.event_time_format"


def register_hint(connection: DuckDBPyConnection) -> None:
    """Makes `hint` a function of the engine, by the name `HINT`."""
    import duckdb

    with contextlib.suppress(duckdb.Error):  # it is known already
        connection.create_function(HINT, hint, ["VARCHAR"], "VARCHAR")


def _parsed(text: str, formats: Sequence[str]) -> str:
    """With an offset in the format, DuckDB returns another type than without; both have microseconds since 1970.

    %Y takes a year of two digits for one of the first century.
    """
    moment = f"make_timestamp(epoch_us(TRY(strptime({text}, {list_literal(formats)}))))"
    return f"(CASE WHEN {moment} >= TIMESTAMP '1900-01-01' THEN {moment} END)"


def _from_text(text: str) -> str:
    plain = text
    for pattern, replacement in _REWRITES:
        plain = f"regexp_replace({plain}, {text_literal(pattern)}, {text_literal(replacement)})"
    is_iso = f"regexp_full_match({plain}, {text_literal(_ISO)})"
    # Nearly all texts are plain ISO already: only the others pay for the rewriting.
    in_utc = f"regexp_replace({text}, ' (UTC|GMT|Z)( [0-9]+)?$', ' +0000\\2')"
    rewritten = (
        f"(CASE WHEN {is_iso} THEN make_timestamp(epoch_us(TRY_CAST({plain} AS TIMESTAMPTZ)))"
        f" WHEN regexp_matches({text}, {text_literal(_HAS_MONTH_NAME)}) THEN {_parsed(in_utc, _NAMED_MONTHS)} END)"
    )
    is_plain = f"regexp_full_match({text}, {text_literal(_ISO)})"
    return (
        f"(CASE WHEN {is_plain} AND TRY_CAST({text} AS TIMESTAMPTZ) IS NOT NULL "
        f"THEN make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ))) ELSE {rewritten} END)"
    )


def _from_number(number: str) -> str:
    days = [
        f"WHEN {number} BETWEEN {first} AND {last} AND {number} = trunc({number}) "
        f"THEN TRY(strptime(({number})::BIGINT::VARCHAR, {text_literal(form)}))"
        for first, last, form in _DIGITS
    ]
    cases = []
    for unit, scale in _UNITS.items():
        earliest = EARLIEST_NS if unit == "nanoseconds" else EARLIEST_S * 1e6 / scale
        cases.append(
            f"WHEN {number} BETWEEN {earliest!r} AND {LATEST_S * 1e6 / scale!r} "
            f"THEN make_timestamp(round({number} * {scale!r})::BIGINT)"
        )
    return f"(CASE {' '.join(days)} {' '.join(cases)} END)"
