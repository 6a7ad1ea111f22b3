"""Labels from a file, by the readers of raw events: any of their formats, with what is dirty told and left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from divisions.errors import InputError
from divisions.pipeline.definition import DataFormat, Label
from trainers.data.engine import Limits
from trainers.data.event_times import event_time
from trainers.data.labels import LabelCounts, has_words_of_its_own, label_value, word_counts, words_error
from trainers.data.staged_input import read_staged
from trainers.data.staging import Staging

if TYPE_CHECKING:
    from divisions.settings import S3Settings


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns: of the id, of the label, and of the label's time, which may be empty."""

    id: str
    label: str
    time: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of ``id``. ``at_s`` is when, in seconds since the Unix epoch; None if the file does not say."""

    id: str
    is_positive: bool
    at_s: float | None


@dataclass(frozen=True, slots=True)
class ReadLabels:
    """What a file holds. Ids with both labels are in no outcome, and counted as ``conflicting``."""

    outcomes: tuple[Outcome, ...]
    rows: int
    unreadable: int
    without_id: int
    without_label: int
    without_time: int
    repeated: int
    conflicting: int
    notes: tuple[str, ...] = ()


def read_labels(
    uri: str, columns: Columns, label: Label, *, s3: S3Settings, allow_buckets: tuple[str, ...], form: DataFormat
) -> ReadLabels:
    """Reads the labels of a file, a folder or an S3 prefix. An id that comes twice counts once, at its earliest time.

    Raises:
        InputError: it cannot be read, a column is not there, or the label has words of its own.
    """
    return read_staged(
        uri,
        s3=s3,
        allow_buckets=allow_buckets,
        form=form,
        limits=Limits(),
        use=lambda staging: _labels_of(staging, uri, columns, label, form),
    )


def _labels_of(staging: Staging, uri: str, columns: Columns, label: Label, form: DataFormat) -> ReadLabels:
    connection = staging.engine.connection
    formats = (form.event_time_format,) if form.event_time_format else ()
    parts = []
    for group in staging.groups:
        for name in filter(None, (columns.id, columns.label, columns.time)):
            if name not in group.columns:
                raise InputError(
                    f"{group.example} has no column {name!r}, only {', '.join(list(group.columns)[:20])}",
                    remedy="name its columns with --id, --label and --time",
                )
        chosen = group.columns[columns.label]
        moment = event_time(group.columns[columns.time], formats) if columns.time else "NULL::TIMESTAMP"
        parts.append(
            f"SELECT {group.columns[columns.id].identifier} AS id, {label_value(chosen, label)} AS label,"
            f" {chosen.is_present} AS is_labelled, epoch({moment}) AS at_s, flaw IS NOT NULL AS is_flawed"
            f" FROM {group.relation}"
        )
    bad = len(staging.bad)
    if not parts:
        return ReadLabels((), bad, bad, 0, 0, 0, 0, 0, tuple(staging.notes))
    connection.execute(f"CREATE TEMP TABLE labels AS {' UNION ALL '.join(parts)}")
    has_time = "at_s IS NOT NULL" if columns.time else "true"
    good = f"NOT is_flawed AND id IS NOT NULL AND label IS NOT NULL AND {has_time}"
    counted = connection.execute(
        "SELECT count(*), count(*) FILTER (is_flawed), count(*) FILTER (NOT is_flawed AND id IS NULL),"
        " count(*) FILTER (NOT is_flawed AND id IS NOT NULL AND label IS NULL),"
        " count(*) FILTER (NOT is_flawed AND label), count(*) FILTER (NOT is_flawed AND NOT label),"
        " count(*) FILTER (NOT is_flawed AND label IS NULL AND is_labelled),"
        f" count(*) FILTER (NOT is_flawed AND id IS NOT NULL AND label IS NOT NULL AND NOT ({has_time})),"
        f" count(*) FILTER ({good}) FROM labels"
    ).fetchall()[0]
    rows, flawed, without_id, without_label, positive, negative, unknown, without_time, usable = map(int, counted)
    if has_words_of_its_own(label, LabelCounts(positive, negative, unknown)) and unknown:
        raise words_error(uri, columns.label, label, word_counts(connection, staging.groups, columns.label))
    found = connection.execute(
        f"SELECT id, bool_or(label), min(at_s), bool_or(label) <> bool_and(label), count(*) FROM labels WHERE {good}"
        " GROUP BY id ORDER BY id"
    ).fetchall()
    outcomes = tuple(Outcome(each[0], bool(each[1]), each[2]) for each in found if not each[3])
    conflicting = sum(1 for each in found if each[3])
    repeated = usable - len(found)
    return ReadLabels(
        outcomes,
        rows + bad,
        flawed + bad,
        without_id,
        without_label,
        without_time,
        repeated,
        conflicting,
        tuple(staging.notes),
    )
