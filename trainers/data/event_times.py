"""Event times as SQL: from timestamps, ISO 8601 text and numbers, to microseconds in UTC.

A number is days (``20250114``), or seconds, milliseconds, microseconds or nanoseconds since the Unix epoch. The ranges
do not overlap: times before 1990 are not accepted as numbers. So a year, a month (``202501``) or a spreadsheet's day
number (``45671``) is never taken for some second of 1970; `hint` says what it looks like instead.
"""

from __future__ import annotations

import re

from trainers.data.engine import text_literal
from trainers.data.raw_columns import Form, RawColumn

EARLIEST_S = 631_152_000  # 1990-01-01: earlier numbers are rather years, months or day numbers than seconds
LATEST_S = 7_258_118_400  # 2200-01-01
_UNITS = {"seconds": 1_000_000.0, "milliseconds": 1_000.0, "microseconds": 1.0, "nanoseconds": 0.001}
_ISO = (
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?( ?(Z|UTC|GMT)|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
# Each step brings one other spelling of ISO 8601 into the one that DuckDB reads.
_REWRITES = (
    (r"^([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})", r"\1-\2-\3"),
    (r"^([0-9]{4})([0-9]{2})([0-9]{2})([T ].*)?$", r"\1-\2-\3\4"),
    (r"^([0-9]{4}-[0-9]{2})$", r"\1-01"),
    (r"^([0-9-]+)[T ]([0-9]{2})([0-9]{2})([0-9]{2})", r"\1T\2:\3:\4"),
    (r"^([0-9-]+)[T ]([0-9]{2})([0-9]{2})([^0-9:].*)?$", r"\1T\2:\3\4"),
    (r"^([0-9-]+)[T ]([0-9]{2})([^0-9:].*)?$", r"\1T\2:00\3"),
    (r",([0-9])", r".\1"),
    (r" ?(z|utc|gmt|UTC|GMT|Z)$", "Z"),
)


def event_time(column: RawColumn, declared: str = "") -> str:
    """TIMESTAMP in UTC; null where the value is none.

    Args:
        column: the event time's column.
        declared: the format of the texts, as ``strptime`` takes it; empty means ISO 8601.
    """
    match column.form:
        case Form.TIME:
            return f"make_timestamp(epoch_us(TRY_CAST({column.sql} AS TIMESTAMPTZ)))"
        case Form.WHOLE | Form.FLOAT | Form.DECIMAL:
            return _from_number(f"({column.sql})::DOUBLE")
        case Form.BOOLEAN | Form.OTHER:
            return "NULL::TIMESTAMP"
    text = column.text
    number = f"TRY_CAST({text} AS DOUBLE)"
    if column.form is Form.JSON:
        number = f"(CASE WHEN {column.sql}[1] NOT IN ('t', 'f') THEN {number} END)"
    if declared:
        return f"COALESCE(TRY(strptime({text}, {text_literal(declared)})), {_from_number(number)})"
    return f"COALESCE({_from_text(text)}, {_from_number(number)})"


def hint(value: str) -> str:
    """Why a value is no event time, as far as it can be told.

    >>> hint("202501")
    'a month, not a time: write its first day, such as 2025-01-01'
    >>> hint("14/01/2025")
    'day and month may be either way round: declare data_prep.format.event_time_format, such as %d/%m/%Y'
    """
    text = value.strip()
    if re.fullmatch(r"\d{1,2}([./-])\d{1,2}\1\d{2,4}.*", text):
        separator = re.sub(r"\d", "", text)[0]
        form = separator.join(("%d", "%m", "%Y"))
        return f"day and month may be either way round: declare data_prep.format.event_time_format, such as {form}"
    if not re.fullmatch(r"\d+(\.0*)?", text):
        return ""
    digits = text.partition(".")[0]
    match len(digits):
        case 4:
            return "a year, not a time: write a day, such as 2025-01-01"
        case 5:
            return "a day number of a spreadsheet or of the form YYDDD, not a time: write days as 2025-01-14"
        case 6 if digits[:2] in {"19", "20"}:
            return f"a month, not a time: write its first day, such as {digits[:4]}-{digits[4:]}-01"
        case 6:
            return "a day of the form YYMMDD, not a time: write days as 2025-01-14"
    return "neither a day such as 20250114 nor seconds since 1970, from 1990 to 2200"


def _from_text(text: str) -> str:
    plain = text
    for pattern, replacement in _REWRITES:
        plain = f"regexp_replace({plain}, {text_literal(pattern)}, {text_literal(replacement)})"
    is_iso = f"regexp_full_match({plain}, {text_literal(_ISO)})"
    # Nearly all texts are plain ISO already: only the others pay for the rewriting.
    rewritten = f"(CASE WHEN {is_iso} THEN make_timestamp(epoch_us(TRY_CAST({plain} AS TIMESTAMPTZ))) END)"
    is_plain = f"regexp_full_match({text}, {text_literal(_ISO)})"
    return (
        f"(CASE WHEN {is_plain} AND TRY_CAST({text} AS TIMESTAMPTZ) IS NOT NULL "
        f"THEN make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ))) ELSE {rewritten} END)"
    )


def _from_number(number: str) -> str:
    cases = [
        f"WHEN {number} BETWEEN {EARLIEST_S * 1e6 / scale!r} AND {LATEST_S * 1e6 / scale!r} "
        f"THEN make_timestamp(round({number} * {scale!r})::BIGINT)"
        for scale in _UNITS.values()
    ]
    day = (
        f"WHEN {number} BETWEEN 19000101 AND 22001231 AND {number} = trunc({number}) "
        f"THEN TRY(strptime(({number})::BIGINT::VARCHAR, '%Y%m%d'))"
    )
    return f"(CASE {day} {' '.join(cases)} END)"
