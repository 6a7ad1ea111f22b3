"""Reads raw events from files, checks each row, and puts unusable rows into the quarantine.

    list files -> read each -> one table -> needed columns there? -> kinds -> check every row -> events | quarantine

A quarantined row has the first of these reasons that applies: ``unparsable line``, ``null <entity>``,
``unreadable <event_time>``, ``null <label>``, ``unknown <label>``, ``bad value``, ``duplicate event`` (an earlier row
has the same entity and event time). No row is dropped silently: rows read = events + quarantined rows.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from divisions.errors import EmptyInputError, InputError, MissingColumnError, RefusedInputError
from divisions.schema import FeatureKind
from trainers.data.column_kinds import infer_kind
from trainers.data.file_formats import BadRow, RawFile, format_of, read_file
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds, declared_note, settled_kind
from trainers.data.locations import Location, list_files, locate, raise_unreachable
from trainers.data.row_checks import check_rows, restore_whole_numbers

if TYPE_CHECKING:
    import pandas as pd

    from divisions.pipeline.definition import Features
    from divisions.settings import S3Settings

MAX_QUARANTINED_SHARE = 0.5
"""Above this share, the input does not fit the pipeline, and a model of the remaining rows would mislead."""
_QUARANTINE_COLUMNS = ("source", "row", "reason", "detail", "raw")


@dataclass(frozen=True, slots=True)
class RawEvents:
    """The checked events of one input.

    Attributes:
        uri: the input.
        partition: the value of the URI's ``partition=``, or empty.
        frame: one row per event, ordered by event time, then entity. The entity is text, the event time
            ``datetime64[us, UTC]``, the label int8 (0 or 1). Every other column has the form of its kind
            (`trainers.data.column_kinds`); a column without a kind is unchanged.
        kinds: the kind of each column that can be a feature.
        quarantine: the unusable rows: ``source, row, reason, detail, raw``.
        num_read: rows read, good or bad.
        notes: further notes for the run's report.
    """

    uri: str
    partition: str
    frame: pd.DataFrame
    kinds: dict[str, FeatureKind]
    quarantine: pd.DataFrame
    num_read: int
    notes: tuple[str, ...] = ()

    @property
    def num_quarantined(self) -> int:
        return len(self.quarantine)

    @property
    def reasons(self) -> dict[str, int]:
        """Quarantined rows by reason, most frequent first."""
        return dict(Counter(self.quarantine["reason"]).most_common())

    def write_quarantine(self, folder: Path) -> Path | None:
        """Writes the quarantine as ``folder/quarantine.parquet``. Returns None if the quarantine is empty."""
        if not self.num_quarantined:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "quarantine.parquet"
        draft = folder / ".quarantine.parquet.draft"
        self.quarantine.to_parquet(draft, index=False)
        draft.replace(path)
        return path


def read_events(
    uri: str,
    *,
    s3: S3Settings,
    allow_buckets: tuple[str, ...],
    features: Features,
    label: str,
    known: KnownKinds = NOTHING_KNOWN,
) -> RawEvents:
    """Reads and checks the raw events at ``uri``: a file, or a folder with all files below it.

    Args:
        uri: ``s3://bucket/prefix``, ``file:///path`` or a local path, its variables already filled in.
        s3: how to reach S3.
        allow_buckets: the buckets that may be read; empty means any.
        features: names of the entity and event time, and declared kinds of columns.
        label: the label's column.
        known: the kinds of the model's previous version.

    Raises:
        ForbiddenInputError: the scheme or bucket is not allowed.
        UnreachableInputError: the location does not answer, or refuses us.
        EmptyInputError: it holds no files or no rows.
        MissingColumnError: the entity, event time, label or a declared column is not in the data.
        InputError: a file is damaged, more than half of the rows are bad, or a column has changed its kind.
    """
    location = locate(uri, s3=s3, allow_buckets=allow_buckets)
    try:
        files, notes = _read_files(location)
    except RefusedInputError:
        if location.signed is None:
            raise
        files, notes = _read_files(replace(location, filesystem=location.signed))
    frame, sources = _join(files)
    bad = [row for file in files for row in file.bad]
    num_read = len(frame) + len(bad)
    if not num_read:
        raise EmptyInputError(
            f"{f'partition {location.partition}' if location.partition else 'input'} holds no rows: {uri}",
            remedy="check the job that writes it",
        )
    if len(frame):
        _require_columns(uri, [str(name) for name in frame.columns], features, label)
    kinds, texts = _kinds(uri, frame, files, features, label, known)
    checked, reasons, details = check_rows(frame, kinds, features, label)
    bad += [
        BadRow(*sources[index], reason=reasons[index], detail=details[index], raw=_raw_text(frame.iloc[index]))
        for index in np.flatnonzero([reason != "" for reason in reasons])
    ]
    _refuse_if_mostly_bad(uri, num_read, bad)
    is_good = np.array([reason == "" for reason in reasons], dtype=bool)
    events = checked[is_good].sort_values([features.event_time, features.entity], kind="stable").reset_index(drop=True)
    return RawEvents(
        uri, location.partition, restore_whole_numbers(events, kinds), kinds, _quarantine(bad), num_read, notes + texts
    )


def _read_files(location: Location) -> tuple[list[RawFile], tuple[str, ...]]:
    paths = list_files(location)
    known = [path for path in paths if format_of(path) is not None]
    if not known:
        names = ", ".join(PurePosixPath(path).name for path in paths[:3])
        raise EmptyInputError(
            f"input {location.uri} holds no Parquet, CSV or JSON lines files, only {names}",
            remedy="use the extensions .parquet, .csv or .jsonl",
        )
    try:
        files = [read_file(location.filesystem, path) for path in known]
    except OSError as error:
        raise_unreachable(location, error)
    skipped = sorted(set(paths) - set(known))
    notes = (f"skipped {len(skipped)} files of other formats: {', '.join(skipped[:5])}",) if skipped else ()
    return files, notes


def _join(files: list[RawFile]) -> tuple[pd.DataFrame, list[tuple[str, int]]]:
    """All files as one table, and the file and number of each row.

    Raises:
        InputError: the files do not have the same columns.
    """
    import pandas as pd

    filled = [file for file in files if len(file.frame)]
    if not filled:
        return pd.DataFrame(), []
    first = filled[0]
    for file in filled[1:]:
        odd = set(first.frame.columns).symmetric_difference(file.frame.columns)
        # JSON lines may omit absent values, so a file may lack a column without being wrong.
        if odd and not all(format_of(other.source) == "jsonl" for other in (first, file)):
            raise InputError(
                f"{file.source} and {first.source} have different columns: {', '.join(sorted(map(str, odd)))}",
                remedy="put files of different shape into different inputs",
            )
    frame = pd.concat([file.frame for file in filled], ignore_index=True) if len(filled) > 1 else first.frame
    return frame, [(file.source, row) for file in filled for row in file.rows]


def _require_columns(uri: str, present: list[str], features: Features, label: str) -> None:
    declared = (*features.numeric, *features.categorical, *features.boolean)
    roles = {features.entity: "entity", features.event_time: "event time", label: "label"}
    for name in (*roles, *declared):
        if name in present:
            continue
        near = difflib.get_close_matches(name, present, n=1, cutoff=0.5)
        hint = f" (nearest: {near[0]!r})" if near else ""
        what = f"the {roles[name]} column {name!r}" if name in roles else f"the declared feature {name!r}"
        key = {"entity": "entity", "event time": "event_time", "label": "label"}.get(roles.get(name, ""), "the name")
        raise MissingColumnError(
            f"input {uri} lacks {what}; it has {', '.join(sorted(present))}",
            remedy=f"add the column, or set features.{key}{hint}"
            if name in roles
            else f"correct the name under features{hint}",
        )


def _kinds(
    uri: str, frame: pd.DataFrame, files: list[RawFile], features: Features, label: str, known: KnownKinds
) -> tuple[dict[str, FeatureKind], tuple[str, ...]]:
    """The kind of each column except entity, event time and label: as declared, else as known, else by its values."""
    declared = dict.fromkeys(features.numeric, FeatureKind.NUMERIC)
    declared |= dict.fromkeys(features.categorical, FeatureKind.CATEGORICAL)
    declared |= dict.fromkeys(features.boolean, FeatureKind.BOOLEAN)
    kinds, notes = {}, []
    for name in frame.columns:
        if name in {features.entity, features.event_time, label} or name in features.exclude:
            continue
        if name in declared:
            kinds[str(name)] = declared[name]
            notes.append(declared_note(name, declared[name], known))
            continue
        kind, note = settled_kind(str(name), _inferred(name, files), frame[name], known, uri)
        if kind is not None:
            kinds[str(name)] = kind
            notes.append(note)
        else:
            notes.append(f"column {name!r} is no feature: it is all null, or neither number, text nor boolean")
    return kinds, tuple(filter(None, notes))


def _inferred(name: str, files: list[RawFile]) -> FeatureKind | None:
    """The kind by the values of typed formats. Values of CSV files count only if there are no others."""
    import pandas as pd

    for is_untyped in (False, True):
        parts = [file.frame[name] for file in files if file.is_untyped is is_untyped and name in file.frame.columns]
        column = pd.concat(parts, ignore_index=True) if parts else None
        if column is not None and column.notna().any():
            return infer_kind(column, is_untyped=is_untyped)
    return None


def _raw_text(row: pd.Series) -> str:
    return msgspec.json.encode({str(name): _jsonable(value) for name, value in row.items()}).decode()


def _jsonable(value: object) -> object:
    # The encoder does not accept NumPy's numbers, although its doubles are Python floats.
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if plain is None or isinstance(plain, str | bool | int | float | list | dict) else str(plain)


def _refuse_if_mostly_bad(uri: str, num_read: int, bad: list[BadRow]) -> None:
    if len(bad) <= MAX_QUARANTINED_SHARE * num_read:
        return
    reasons = Counter(f"{row.reason} ({row.detail})" if row.detail else row.reason for row in bad).most_common(3)
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons)
    raise InputError(
        f"{len(bad)} of {num_read} rows of {uri} cannot be used: {listed}",
        remedy=f"first bad row: {bad[0].source}, record {bad[0].row}",
    )


def _quarantine(bad: list[BadRow]) -> pd.DataFrame:
    import pandas as pd

    rows = sorted(bad, key=lambda row: (row.source, row.row))
    return pd.DataFrame(
        [[getattr(row, name) for name in _QUARANTINE_COLUMNS] for row in rows], columns=_QUARANTINE_COLUMNS
    )
