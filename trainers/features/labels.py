"""Labels that are the absence of events, as SQL: who was active at T, and did nothing of a kind in (T, T + horizon].

The features of such a label end at T, and the label begins after it, so neither sees into the other. T is as late as it
can be: the label's last moment is the last moment that was observed. A later T would call customers gone because the
data end. Several T lie before that one, at equal distances; a customer then has a row for each at which it was active.
"""

from __future__ import annotations

import datetime as dt

from divisions.pipeline.feature_definition import Absence, Window
from trainers.features.sql_text import timestamp_literal


def label_times(absence: Absence, first: dt.datetime, observed: dt.datetime) -> list[dt.datetime]:
    """The times T, the latest first. Each label was observed to its end, and events before it, too.

    Args:
        absence: the label.
        first: the time of the first event: no customer was active before it.
        observed: the time of the newest event: what came after it is not known.
    """
    latest = observed - _span(absence.horizon)
    times = [latest - number * _span(absence.every) for number in range(absence.times)]
    return [at for at in times if at >= first]


def absence_sql(absence: Absence, condition: str, events: str, cutoff: dt.datetime) -> str:
    """Labels at ``cutoff``, as ``entity, cutoff, label`` of the entities that were active then.

    Args:
        absence: the label.
        condition: BOOLEAN, never null: whether an event is of the kind that must not happen.
        events: the relation ``events(entity, happened, ...)``.
        cutoff: T.
    """
    at, end = timestamp_literal(cutoff), timestamp_literal(cutoff + _span(absence.horizon))
    active_since = timestamp_literal(cutoff - _span(absence.active_within))
    return (
        f"SELECT entity, {at} AS cutoff,"
        f" (count(*) FILTER (WHERE {condition} AND happened > {at}) = 0)::UTINYINT AS label"
        f" FROM {events} WHERE happened > {active_since} AND happened <= {end}"
        f" GROUP BY entity HAVING count(*) FILTER (WHERE happened <= {at}) > 0"
    )


def newest_sql(events: str, cutoff: dt.datetime) -> str:
    """Every entity that was seen by ``cutoff``, as ``entity, cutoff``: the rows that are served."""
    at = timestamp_literal(cutoff)
    return f"SELECT entity, {at} AS cutoff FROM {events} WHERE happened <= {at} GROUP BY entity"


def _span(window: Window) -> dt.timedelta:
    microseconds = window.microseconds
    assert microseconds is not None  # the parser refuses labels without an end
    return dt.timedelta(microseconds=microseconds)
