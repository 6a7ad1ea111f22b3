"""Reads raw events from files, checks each row, and puts unusable rows into the quarantine.

    list files -> stage in DuckDB -> needed columns there? -> kinds -> judge every row -> training rows  | quarantine
                                                                                          newest rows

A quarantined row has the first of these reasons that applies: ``unparsable line``, ``null <entity>``,
``unreadable <event_time>``, ``future <event_time>``, ``unknown <label>``, ``conflicting label`` (rows with the same
entity and event time, and different labels), ``duplicate event`` (an earlier row has the same entity and event time).
No row is dropped silently: rows read = events + quarantined rows.

An event without a label is an event: nothing is learned from it, but its customer is served (see
`trainers.data.row_checks`).

All of this happens in the engine, over all rows at once and with bounded memory. Only the training rows, one for each
customer in a run, leave it. The newest rows become a file.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.errors import EmptyInputError, InputError
from divisions.pipeline.definition import DataFormat
from divisions.schema import FeatureKind
from trainers.data.customer_rows import CustomerRows
from trainers.data.day_order import DayOrder, declared_order, find_day_order
from trainers.data.declared_columns import require_columns
from trainers.data.defined_kinds import text_columns
from trainers.data.defined_rows import choose_defined
from trainers.data.engine import Engine, Limits
from trainers.data.feature_columns import choose_columns, spell_numbers
from trainers.data.file_formats import FileKind
from trainers.data.file_text import format_lines
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds
from trainers.data.labels import has_words_of_its_own, word_counts, words_error, words_note
from trainers.data.newest_rows import NewestRows, copy_newest
from trainers.data.picked_rows import fetch
from trainers.data.quarantine import Quarantine, gather
from trainers.data.raw_columns import LABEL_WORDS
from trainers.data.row_checks import Picked, RowChecks
from trainers.data.row_groups import RowGroup
from trainers.data.staged_input import read_staged
from trainers.data.staging import Staging
from trainers.data.trimmed_values import trimmed_note

if TYPE_CHECKING:
    import pandas as pd

    from divisions.pipeline.definition import Features
    from divisions.settings import S3Settings

MAX_QUARANTINED_SHARE = 0.5
"""Above this share, the input does not fit the pipeline, and a model of the remaining rows would mislead."""
MAX_LABEL_SHIFT = 0.1
"""The quarantine may move the share of positive labels by this much."""
NOTED_LABEL_SHIFT = 0.01
MIN_LOST_LABELS = 10


@dataclass(frozen=True, slots=True)
class RawEvents:
    """The checked events of one input.

    Attributes:
        uri: the input.
        partition: the value of the URI's ``partition=``; else empty, or the newest event's day if features are defined.
        rows: the training rows: one per event with a label, ordered by event time, then entity; or one
            per customer, ordered by entity. A column without a kind is not there.
        kinds: the kind of each column that can be a feature.
        unusable: the quarantined rows.
        num_read: rows read, good or bad.
        notes: further notes for the run's report.
        num_newest: customers with an event that can be used, with a label or without: those that can be served.
        newest: their newest rows, if the reading has a place for them.
        whys: why each column has its kind, for the column report.
        formats: what the files were taken for, a line for each way of writing.
        roles: the names of the entity, the event time and the label.
    """

    uri: str
    partition: str
    rows: CustomerRows
    kinds: dict[str, FeatureKind]
    unusable: Quarantine
    num_read: int
    notes: tuple[str, ...] = ()
    num_newest: int = 0
    newest: NewestRows | None = None
    whys: dict[str, str] = field(default_factory=dict)
    formats: tuple[str, ...] = ()
    roles: tuple[str, str, str] = ("customer_id", "event_time", "churn")

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a data frame: the event time is ``datetime64[us, UTC]``, the label int8."""
        return self.rows.to_pandas(self.roles)

    @property
    def num_quarantined(self) -> int:
        return len(self.unusable)

    @property
    def reasons(self) -> Mapping[str, int]:
        """Quarantined rows by reason, most frequent first."""
        return self.unusable.reasons

    @property
    def quarantine(self) -> pd.DataFrame:
        """The quarantined rows as a data frame: ``source, row, reason, detail, raw``."""
        return self.unusable.to_pandas()


@dataclass(frozen=True, slots=True)
class Reading:
    """How the events are read.

    Attributes:
        format: what is declared about the files.
        limits: what the engine may use.
        as_of: later events are left out, as if they had not happened yet; None takes all.
        now: event times after it are unreadable; None takes all.
        is_latest_only: only the latest event with a label of each customer becomes a row of the frame.
        newest: a file for the newest rows; None writes none.
        quarantine: a file for the rows that cannot be used; None keeps them in memory.
    """

    format: DataFormat = field(default_factory=DataFormat)
    limits: Limits = field(default_factory=Limits)
    as_of: dt.datetime | None = None
    now: dt.datetime | None = None
    is_latest_only: bool = False
    newest: Path | None = None
    quarantine: Path | None = None


ALL_EVENTS = Reading()


def read_events(
    uri: str,
    *,
    s3: S3Settings,
    allow_buckets: tuple[str, ...],
    features: Features,
    label: str,
    reading: Reading = ALL_EVENTS,
    known: KnownKinds = NOTHING_KNOWN,
) -> RawEvents:
    """Reads and checks the raw events at ``uri``: a file, or a folder with all files below it.

    Args:
        uri: ``s3://bucket/prefix``, ``file:///path`` or a local path, its variables already filled in.
        s3: how to reach S3.
        allow_buckets: the buckets that may be read; empty means any.
        features: names of the entity and event time, and declared kinds of columns.
        label: the label's column.
        reading: how they are read.
        known: the kinds of the model's previous version.

    Raises:
        ForbiddenInputError: the scheme or bucket is not allowed.
        UnreachableInputError: the location does not answer, or refuses us.
        EmptyInputError: it holds no files or no rows.
        MissingColumnError: the entity, event time, label or a declared column is not in the data.
        InputError: a file is damaged, more than half of the rows are bad, or a column has changed its kind.
    """

    def use(staging: Staging) -> RawEvents:
        return events_of(staging, features, label, reading, known)

    # Where the comma is the decimal mark, 29.85 is no number, and 1.200 is another one.
    texts = _stay_text(features, label, known) if reading.format.decimal != "," else None
    return read_staged(
        uri, s3=s3, allow_buckets=allow_buckets, form=reading.format, limits=reading.limits, use=use, texts=texts
    )


def _stay_text(features: Features, label: str, known: KnownKinds) -> frozenset[str]:
    """The columns whose values are needed as they are spelled, even if they look like numbers."""
    texts = {name for name, kind in known.kinds.items() if kind is not FeatureKind.NUMERIC}
    texts |= {*features.categorical, *features.boolean}
    return frozenset({features.entity, features.event_time, label, *texts, *text_columns(features, texts)})


def events_of(
    staging: Staging,
    features: Features,
    label: str,
    reading: Reading,
    known: KnownKinds,
    make_checks: Callable[..., RowChecks] = RowChecks,
) -> RawEvents:
    """The checked events of what was staged. ``make_checks`` takes what `RowChecks` takes.

    Raises:
        InputError: see `read_events`.
    """
    engine = staging.engine
    uri, partition = staging.location.uri, staging.location.partition
    groups = staging.groups
    num_read = sum(group.num_rows for group in groups) + len(staging.bad)
    if not num_read:
        raise EmptyInputError(
            f"{f'partition {partition}' if partition else 'input'} holds no rows: {uri}",
            remedy="check the job that writes it",
        )
    _refuse_different_columns(groups, label)
    order = _day_order(engine, groups, features, reading.format.event_time_format)
    staging.notes += [order.note] if order.note else []
    is_log = bool(features.define)
    column = "" if features.label.absence else label
    checks = make_checks(engine.connection, groups, features, column, order.formats, is_log)
    if not groups:  # so every row is bad
        _refuse_if_mostly_bad(uri, num_read, None, staging)
    names = list(dict.fromkeys(name for group in groups for name in group.columns))
    require_columns(uri, names, features, label)
    checks.judge(reading.now)
    staging.notes += _label_words(uri, checks)
    flawed = _refuse_if_mostly_bad(uri, num_read, checks, staging)
    unusable = _quarantine(checks, flawed, staging, reading.quarantine)
    picked = checks.pick(reading.as_of, is_latest_only=reading.is_latest_only or is_log)
    shift = _label_shift(uri, checks)
    texts: list[str] = []
    is_repeated = False
    if is_log:
        numbers = dict.fromkeys(one.column for one in features.define if one.aggregate.is_of_numbers)
        notes = spell_numbers(engine.connection, groups, list(numbers), reading.format)
        defined = choose_defined(checks, picked, reading.as_of, known, uri)
        kinds, picked, whys, is_repeated = defined.kinds, defined.picked, defined.whys, defined.is_repeated
        notes += defined.notes
        columns, partition = kinds, partition or defined.last_day
    else:
        chosen = choose_columns(engine.connection, groups, features, label, known, reading.format, uri)
        kinds, whys, notes = chosen.kinds, chosen.whys, list(chosen.notes)
        columns = {**chosen.left_out, **kinds}
        texts = [name for name, kind in kinds.items() if kind is FeatureKind.CATEGORICAL]
        checks.choose(columns)
    notes += trimmed_note(engine.connection, groups, [features.entity, *texts])
    notes += _picked_notes(picked, label, reading.as_of) + shift
    rows, misfits = fetch(
        engine.connection,
        columns,
        features,
        is_by_entity=reading.is_latest_only,
        is_repeated=is_repeated,
        has_ids=not is_log,
    )
    newest = copy_newest(engine.connection, columns, reading.newest) if reading.newest is not None else None
    notes = [*staging.notes, *notes, *misfits]
    return RawEvents(
        uri,
        partition,
        rows,
        kinds,
        unusable,
        num_read,
        tuple(notes),
        picked.num_newest,
        newest,
        whys,
        format_lines(staging.formats),
        (features.entity, features.event_time, label),
    )


def _day_order(engine: Engine, groups: list[RowGroup], features: Features, declared: str) -> DayOrder:
    if declared:
        return declared_order(engine.connection, declared)
    if features.event_time_constant:
        return DayOrder()
    return find_day_order(engine.connection, groups, features.event_time)


def _label_words(uri: str, checks: RowChecks) -> list[str]:
    """A note on declared words of the label.

    Raises:
        InputError: its words are others than those declared, or than the usual ones.
    """
    declared, counts = checks.features.label, checks.label_counts()
    is_foreign = has_words_of_its_own(declared, counts)
    if not is_foreign and not declared.positive:
        return []
    words = word_counts(checks.connection, checks.groups, checks.label)
    if is_foreign and any(word.lower() not in LABEL_WORDS or declared.positive for word in words):
        raise words_error(uri, checks.label, declared, words)
    return [words_note(checks.label, declared, words)] if words else []


def _picked_notes(picked: Picked, label: str, as_of: dt.datetime | None) -> list[str]:
    notes = []
    if picked.num_later:
        notes.append(f"{picked.num_later:,} events after {as_of:%Y-%m-%d %H:%M} UTC are left out")
    if picked.num_unlabelled:
        notes.append(
            f"{picked.num_unlabelled:,} of {picked.num_newest:,} customers have no {label}:"
            " they are served, but the model does not learn from them"
        )
    return notes


def _refuse_different_columns(groups: list[RowGroup], label: str) -> None:
    for group in groups[1:]:
        first = groups[0]
        # Newer files often lack the label, because nobody knows it yet.
        odd = set(first.columns).symmetric_difference(group.columns) - {label}
        # JSON lines omit absent values, so a column that a file lacks is not necessarily forgotten.
        if odd and not all(other.kind is FileKind.JSON_LINES for other in (first, group)):
            raise InputError(
                f"{group.example} and {first.example} have different columns: {', '.join(sorted(odd))}",
                remedy="put files of different columns into different inputs",
            )


def _quarantine(checks: RowChecks, flawed: dict[str, int], staging: Staging, path: Path | None) -> Quarantine:
    """The rows that cannot be used. Where there are none, nothing is asked."""
    engine = staging.engine
    files = []
    if flawed:
        files.append(engine.folder / "flawed.parquet")
        checks.write_flawed(files[0])
    reasons = Counter(flawed) + staging.bad.reasons
    return gather(engine.connection, reasons, staging.bad.flush(), files, staging.sources, path)


def _refuse_if_mostly_bad(uri: str, num_read: int, checks: RowChecks | None, staging: Staging) -> dict[str, int]:
    """Before the bad rows are fetched, since they may be very many. Returns how many the checks have found."""
    found = checks.count() if checks is not None else {}
    counts = staging.bad.details + Counter(found)
    num_bad = counts.total()
    if num_bad <= MAX_QUARANTINED_SHARE * num_read:
        return found
    listed = "; ".join(f"{count} x {reason}" for reason, count in counts.most_common(3))
    bad = staging.bad.first
    first = (bad.source, bad.row, bad.detail, bad.raw) if bad is not None else None
    if checks is not None and (flawed := checks.first_flawed()) is not None:
        own = (*staging.place(flawed.id), flawed.detail, flawed.raw)
        first = own if first is None else min(first, own)
    source, number, detail, raw = first or ("", 0, "", "")
    raise InputError(
        f"{num_bad} of {num_read} rows of {uri} cannot be used: {listed}",
        remedy=f"first bad row: {source}, record {number}{f' ({detail})' if detail else ''}: {raw[:200]}",
    )


def _label_shift(uri: str, checks: RowChecks) -> list[str]:
    """A note where the quarantine changes the share of positive labels.

    Raises:
        InputError: it changes it so much that a model would learn another question.
    """
    rates = checks.label_rates()
    if rates is None or rates.num_lost < MIN_LOST_LABELS or abs(rates.shift) < NOTED_LABEL_SHIFT:
        return []
    text = (
        f"the quarantine moves the share of positive labels from {rates.before:.3f} to {rates.after:.3f}: "
        f"{rates.num_lost:,} rows with a label are lost"
    )
    if abs(rates.shift) <= MAX_LABEL_SHIFT:
        return [text]
    reasons = ", ".join(f"{count} x {reason}" for reason, count in checks.count().items())
    raise InputError(f"input {uri}: {text}", remedy=f"mend the rows ({reasons}), or take them out of the input")
