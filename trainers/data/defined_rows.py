"""Features that the pipeline file defines over events: from staged rows to the table ``chosen``.

    rows -> events -> the times of each entity's labels --+
                   -> the time of the newest event      --+-> features at these times -> chosen

`trainers.features` has the SQL, and this runs it. Each query reads the events once and keeps one row for each entity,
so memory grows with the entities, not with the events.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from divisions.errors import EmptyInputError, InputError
from divisions.schema import FeatureKind
from trainers.data.defined_kinds import defined_kinds, misfit_notes, why_defined
from trainers.data.engine import first_row
from trainers.data.event_times import event_time
from trainers.data.row_checks import Picked, RowChecks
from trainers.features.aggregation import Aggregation, defined_features
from trainers.features.event_columns import EventColumns
from trainers.features.labels import absence_sql, label_times, newest_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from divisions.pipeline.feature_definition import Absence, FeatureDefinition
    from trainers.data.known_kinds import KnownKinds
    from trainers.data.raw_columns import RawColumn

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Column:
    """A raw column, as `trainers.features` asks for it."""

    raw: RawColumn
    time_formats: Sequence[str]

    @property
    def identifier(self) -> str:
        return self.raw.identifier

    @property
    def number(self) -> str:
        return self.raw.number

    @property
    def truth(self) -> str:
        return self.raw.truth

    @property
    def moment(self) -> str:
        return event_time(self.raw, self.time_formats)

    @property
    def is_present(self) -> str:
        return self.raw.is_present


@dataclass(frozen=True, slots=True)
class DefinedRows:
    """What came of the definitions; the rows are in the table ``chosen`` (see `trainers.data.picked_rows`).

    Attributes:
        kinds: of the features, in the order of their columns ``f0``, ``f1`` ...
        picked: how many rows there are.
        notes: for the run's report.
        whys: why each feature has its kind, for the column report.
        last_day: the day of the newest event, such as ``2025-01-14``.
        is_repeated: an entity may have several training rows, each as of another time.
    """

    kinds: dict[str, FeatureKind]
    picked: Picked
    notes: tuple[str, ...]
    whys: dict[str, str]
    last_day: str
    is_repeated: bool


def choose_defined(
    checks: RowChecks, picked: Picked, as_of: dt.datetime | None, known: KnownKinds, uri: str
) -> DefinedRows:
    """Computes the defined features of training rows and newest rows.

    Args:
        checks: has judged the rows, and picked those with a label.
        picked: how many it picked.
        as_of: later events are left out; None takes all.
        known: the kinds of the previous version.
        uri: the input, for messages.

    Raises:
        InputError: a column cannot be what a feature takes it for, or the events span less time than the label.
    """
    connection, features = checks.connection, checks.features
    absence = features.label.absence
    settled = defined_kinds(connection, checks.groups, features, known, uri)
    define = [one for one in features.define if all(name in settled.kinds for name in one.names)]
    computed = defined_features(define, settled.kinds)
    aggregation = Aggregation(computed, (features.entity, features.event_time), features.event_time)
    columns = aggregation.columns
    if absence is not None:
        columns = EventColumns.of(columns.values, (*columns.filters, absence.where))
    groups = [
        (group, {name: _Column(raw, checks.time_formats) for name, raw in group.columns.items()})
        for group in checks.groups
    ]
    notes = [*settled.notes, *misfit_notes(connection, groups, define, columns.values)]
    checks.write_events(columns, groups, as_of)
    span = _span(connection, uri)
    notes += _stale_note(span, as_of)
    labels = _write_label_times(connection, absence, columns, span, uri)
    notes += _window_notes(define, span, labels.times[-1])
    connection.execute(f"CREATE TEMP TABLE newest_times AS {newest_sql('events', span.newest)}")
    _choose(
        connection, aggregation, "CREATE TEMP TABLE chosen AS", "newest_times", "NULL::UTINYINT AS label, false", "true"
    )
    for table in labels.tables:
        _choose(connection, aggregation, "INSERT INTO chosen", table, "label, true", "false")
    whys = {one.name: why_defined(one, features) for one in computed}
    rows = " UNION ALL ".join(f"SELECT entity FROM {table}" for table in labels.tables)
    num_training, num_customers = first_row(connection, f"SELECT count(*), count(DISTINCT entity) FROM ({rows})")
    num_others = picked.num_newest - num_customers
    if absence is not None:
        notes.append(_label_note(absence, labels.times, span, num_training, num_customers, num_others))
    counted = replace(picked, num_training=num_training, num_unlabelled=0 if absence else num_others)
    return DefinedRows(
        {one.name: one.kind for one in computed},
        counted,
        tuple(notes),
        whys,
        f"{span.newest:%Y-%m-%d}",
        is_repeated=len(labels.tables) > 1,
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """The times of the first and the newest event."""

    first: dt.datetime
    newest: dt.datetime


def _span(connection: DuckDBPyConnection, uri: str) -> _Span:
    first, newest = first_row(connection, "SELECT min(happened), max(happened) FROM events")
    if newest is None:
        raise EmptyInputError(
            f"input {uri} has no usable events up to the run's day", remedy="see its quarantine for the reasons"
        )
    return _Span(first.replace(tzinfo=dt.UTC), newest.replace(tzinfo=dt.UTC))


@dataclass(frozen=True, slots=True)
class _Labels:
    """The tables ``(entity, cutoff, label)``, in each of which an entity stands once at most.

    ``times`` are those of all labels, the latest first; only the latest of them where each entity has its own.
    """

    tables: tuple[str, ...]
    times: tuple[dt.datetime, ...]


def _write_label_times(
    connection: DuckDBPyConnection, absence: Absence | None, columns: EventColumns, span: _Span, uri: str
) -> _Labels:
    if absence is None:
        connection.execute(
            "CREATE TEMP TABLE training_times AS SELECT entity, happened AS cutoff, label FROM picked WHERE is_training"
        )
        (latest,) = first_row(connection, "SELECT max(cutoff) FROM training_times")
        return _Labels(("training_times",), (span.newest if latest is None else latest.replace(tzinfo=dt.UTC),))
    times = label_times(absence, span.first, span.newest)
    if not times:
        days = (span.newest - span.first) / _DAY
        raise InputError(
            f"the events of {uri} span {days:.1f} days, from {span.first:%Y-%m-%d %H:%M} to"
            f" {span.newest:%Y-%m-%d %H:%M}: too few to see who did nothing for {absence.horizon}",
            remedy="read a longer period, or make features.label.for shorter",
        )
    tables = tuple(f"training_times_{number}" for number in range(len(times)))
    for table, at in zip(tables, times, strict=True):
        query = absence_sql(absence, columns.filter(absence.where), "events", at)
        connection.execute(f"CREATE TEMP TABLE {table} AS {query}")
    return _Labels(tables, tuple(times))


def _label_note(
    absence: Absence, times: Sequence[dt.datetime], span: _Span, num_rows: int, num_customers: int, num_others: int
) -> str:
    others = f"{num_others:,} others are served, but not learned from"
    latest = f"{times[0]:%Y-%m-%d %H:%M} UTC"
    if absence.times == 1:
        return (
            f"labels look at the {absence.horizon} after {latest}: {num_customers:,} customers were"
            f" active in the {absence.active_within} before; {others}"
        )
    missing = ""
    if len(times) < absence.times:
        missing = f" of {absence.times}, since the events begin on {span.first:%Y-%m-%d %H:%M} UTC"
    return (
        f"labels look at the {absence.horizon} after each of {len(times)} times{missing}, every {absence.every} up to"
        f" {latest}: {num_customers:,} customers were active in the {absence.active_within} before one of them, and"
        f" are learned from by {num_rows:,} rows; {others}"
    )


def _choose(
    connection: DuckDBPyConnection, aggregation: Aggregation, into: str, times: str, label: str, is_newest: str
) -> None:
    """Adds the features at ``times`` to the table ``chosen``."""
    parts = []
    for number, query in enumerate(aggregation.parts("events", times)):
        parts.append(f"part_{number}")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE part_{number} AS {query}")
    values = "".join(f", f{index}" for index in range(len(aggregation.features)))
    connection.execute(
        f"{into} SELECT 0::BIGINT AS picked_id, entity, cutoff AS happened, {label} AS is_training,"
        f" {is_newest} AS is_newest{values}"
        f" FROM ({aggregation.joined(parts, times)}) JOIN (SELECT * EXCLUDE (cutoff) FROM {times}) USING (entity)"
    )
    for part in parts:
        connection.execute(f"DROP TABLE {part}")


def _stale_note(span: _Span, as_of: dt.datetime | None) -> list[str]:
    if as_of is None or as_of - span.newest < 2 * _DAY:
        return []
    days = (as_of - span.newest) // _DAY
    return [
        f"the newest event is of {span.newest:%Y-%m-%d %H:%M} UTC, {days} days before the run's: features end there"
    ]


def _window_notes(define: Iterable[FeatureDefinition], span: _Span, at: dt.datetime) -> list[str]:
    """Which windows reach back before the first event, where features of training rows are taken."""
    history = at - span.first
    windows = {window: window.microseconds for one in define for window in one.windows}
    long = [
        str(window)
        for window, microseconds in windows.items()
        if microseconds is not None and dt.timedelta(microseconds=microseconds) > history
    ]
    if not long:
        return []
    return [
        f"windows of {', '.join(long)} are longer than the {history / _DAY:.1f} days of events before the labels"
        f" (since {span.first:%Y-%m-%d %H:%M} UTC): they hold less there than when served"
    ]
