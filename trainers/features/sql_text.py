"""Values as text of SQL."""

from __future__ import annotations

import datetime as dt


def text_literal(text: str) -> str:
    """``text`` as a literal of SQL.

    >>> text_literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def timestamp_literal(moment: dt.datetime) -> str:
    """A moment as a TIMESTAMP of SQL, in UTC.

    >>> timestamp_literal(dt.datetime(2025, 1, 14, 12, tzinfo=dt.UTC))
    "TIMESTAMP '2025-01-14 12:00:00.000000'"
    """
    return f"TIMESTAMP '{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}'"
