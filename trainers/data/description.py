"""What an input holds, without running a pipeline: files, rows, entities, time span, label rate, and each column.

Nothing is judged row by row, so no table of all rows is made: the engine only aggregates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from divisions.errors import EmptyInputError
from divisions.pipeline.columns_yaml import columns_yaml
from divisions.pipeline.definition import DataFormat, Features
from divisions.schema import FeatureKind
from trainers.data.column_facts import DOUBT, ColumnFacts, facts_of, label_aucs, measure
from trainers.data.column_roles import Roles, guess_roles
from trainers.data.day_order import declared_order, find_day_order
from trainers.data.engine import Limits, first_row
from trainers.data.event_times import event_time
from trainers.data.feature_columns import ROW_NUMBER, FeatureColumns, choose_columns
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds
from trainers.data.labels import label_value
from trainers.data.raw_columns import Form, RawColumn
from trainers.data.row_groups import RowGroup
from trainers.data.staged_input import read_staged
from trainers.data.staging import Staging

if TYPE_CHECKING:
    from divisions.settings import S3Settings

_ROLE_KEYS = ("entity", "event_time", "label")


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """One input. ``first`` and ``last`` are times in UTC, as ISO 8601; None where there is no event time."""

    uri: str
    files: tuple[str, ...]
    rows: int
    bad_rows: int
    roles: dict[str, str]
    entities: int | None
    first: str | None
    last: str | None
    unreadable_times: int
    positive_rate: float | None
    unlabelled: int
    columns: tuple[ColumnFacts, ...]
    notes: tuple[str, ...]
    features_yaml: str


@dataclass(frozen=True, slots=True)
class Declared:
    """What a pipeline file says about an input. Without one, ``features`` is None, and the roles are guessed."""

    features: Features | None = None
    label: str = ""
    form: DataFormat = field(default_factory=DataFormat)
    limits: Limits = field(default_factory=Limits)
    known: KnownKinds = NOTHING_KNOWN


NOTHING_DECLARED = Declared()


def describe(
    uri: str, *, s3: S3Settings, allow_buckets: tuple[str, ...], declared: Declared = NOTHING_DECLARED
) -> Description:
    """Describes an input.

    Raises:
        InputError: it cannot be read, or holds no rows; see `trainers.data.ingest.read_events`.
    """
    return read_staged(
        uri,
        s3=s3,
        allow_buckets=allow_buckets,
        form=declared.form,
        limits=declared.limits,
        use=partial(_describe, declared=declared),
    )


def _describe(staging: Staging, declared: Declared) -> Description:
    groups = staging.groups
    rows = sum(group.num_rows for group in groups) + len(staging.bad)
    if not rows:
        raise EmptyInputError(f"input {staging.location.uri} holds no rows", remedy="check the job that writes it")
    return _Describing(staging, declared, list(dict.fromkeys(name for group in groups for name in group.columns))).all()


@dataclass(frozen=True, slots=True)
class _Describing:
    """One description in the making. ``names`` are the columns of the input, in order."""

    staging: Staging
    declared: Declared
    names: list[str]

    def all(self) -> Description:
        staging, notes = self.staging, list(self.staging.notes)
        roles = self._roles(notes)
        chosen = self._choose(roles, notes)
        time_formats = self._time_formats(roles, notes)
        columns = self._columns(roles, chosen)
        num_flawed = sum(self._count(group, "flaw IS NOT NULL") for group in staging.groups)
        entities, first, last, unreadable, positives, negatives = self._spans(roles, time_formats)
        num_good = sum(group.num_rows for group in staging.groups) - num_flawed
        return Description(
            uri=staging.location.uri,
            files=tuple(_file_line(group) for group in staging.groups),
            rows=num_good + num_flawed + len(staging.bad),
            bad_rows=num_flawed + len(staging.bad),
            roles={key: getattr(roles, key) for key in _ROLE_KEYS if getattr(roles, key)},
            entities=entities if roles.entity else None,
            first=first,
            last=last,
            unreadable_times=unreadable if roles.event_time else 0,
            positive_rate=positives / (positives + negatives) if positives + negatives else None,
            unlabelled=num_good - positives - negatives if roles.label else 0,
            columns=tuple(columns),
            notes=tuple(notes),
            features_yaml=columns_yaml(_as_declared(self.declared.features or Features(), roles, columns)),
        )

    def _roles(self, notes: list[str]) -> Roles:
        features = self.declared.features
        if features is not None:
            named = {"entity": features.entity, "event_time": features.event_time, "label": self.declared.label}
            if features.event_time_constant:
                named["event_time"] = ""
            if features.label.absence:
                named["label"] = ""
            present = {key: name if name in self.names else "" for key, name in named.items()}
            notes += [
                f"the input has no column {name!r}, which is to be its {_WORDS[key]}"
                for key, name in named.items()
                if name and not present[key]
            ]
            return Roles(**present, why="as the pipeline file says")
        guessed = guess_roles(self.names)
        missing = [_WORDS[key] for key in _ROLE_KEYS if not getattr(guessed, key)]
        if missing:
            notes.append(f"no column has a usual name of {' or '.join(missing)}; a pipeline file can name it")
        return guessed

    def _choose(self, roles: Roles, notes: list[str]) -> FeatureColumns:
        given = self.declared.features or Features()
        features = replace(given, entity=roles.entity, event_time=roles.event_time)
        chosen = choose_columns(
            self.staging.engine.connection,
            self.staging.groups,
            features,
            roles.label,
            self.declared.known,
            self.declared.form,
            self.staging.location.uri,
            is_strict=False,
        )
        notes += chosen.notes
        return chosen

    def _time_formats(self, roles: Roles, notes: list[str]) -> Sequence[str]:
        form, connection = self.declared.form.event_time_format, self.staging.engine.connection
        if form:
            return declared_order(connection, form).formats
        order = find_day_order(connection, self.staging.groups, roles.event_time)
        notes += [order.note] if order.note else []
        return order.formats

    def _columns(self, roles: Roles, chosen: FeatureColumns) -> list[ColumnFacts]:
        connection = self.staging.engine.connection
        source = partial(self._source, roles)
        figures = measure(connection, source, len(self.names))
        aucs: list[float | None] = [None] * len(self.names)
        if roles.label:
            are_categories = [chosen.kinds.get(name) is not FeatureKind.NUMERIC for name in self.names]
            rows = sum(group.num_rows for group in self.staging.groups)
            aucs = label_aucs(connection, source, are_categories, rows)
        columns = []
        for name, one, auc in zip(self.names, figures, aucs, strict=True):
            kind, why, is_feature = self._meaning(name, roles, chosen)
            columns.append(facts_of(name, kind, why, one, is_feature=is_feature, auc=auc if is_feature else None))
        return columns

    def _meaning(self, name: str, roles: Roles, chosen: FeatureColumns) -> tuple[str, str, bool]:
        for key in _ROLE_KEYS:
            if name == getattr(roles, key):
                return _WORDS[key], roles.why, False
        if name in chosen.excluded:
            return "left out", "by features.exclude", False
        kind = chosen.kinds.get(name)
        return kind.value if kind is not None else "no feature", chosen.whys[name], kind is not None

    def _source(self, roles: Roles, indices: Sequence[int]) -> str:
        """All rows with ``id``, ``label``, and the texts and numbers of some columns, as a subquery."""
        selects = []
        for group in self.staging.groups:
            columns = [group.columns.get(self.names[index]) for index in indices]
            values = "".join(
                f", {_shown(column)} AS t{index}, {column.number if column else 'NULL::DOUBLE'} AS n{index}"
                for index, column in zip(indices, columns, strict=True)
            )
            label = group.columns.get(roles.label)
            selects.append(f"SELECT id, {self._truth(label)} AS label{values} FROM {group.relation} WHERE flaw IS NULL")
        return f"({' UNION ALL '.join(selects)})" if selects else "(SELECT 0 AS id, true AS label WHERE false)"

    def _truth(self, label: RawColumn | None) -> str:
        features = self.declared.features or Features()
        return label_value(label, features.label) if label else "NULL::BOOLEAN"

    def _spans(self, roles: Roles, time_formats: Sequence[str]) -> tuple[int, str | None, str | None, int, int, int]:
        selects = []
        for group in self.staging.groups:
            entity, time, label = (group.columns.get(name) for name in _names(roles))
            happened = event_time(time, time_formats) if time else "NULL::TIMESTAMP"
            selects.append(
                f"SELECT {entity.identifier if entity else 'NULL::VARCHAR'} AS entity, {happened} AS happened,"
                f" {self._truth(label)} AS label FROM {group.relation} WHERE flaw IS NULL"
            )
        if not selects:
            return 0, None, None, 0, 0, 0
        entities, first, last, unreadable, positives, negatives = first_row(
            self.staging.engine.connection,
            "SELECT least(approx_count_distinct(entity), count(entity)), min(happened), max(happened),"
            " count(*) - count(happened),"
            f" count(*) FILTER (WHERE label), count(*) FILTER (WHERE NOT label) FROM ({' UNION ALL '.join(selects)})",
        )
        return entities, _iso(first), _iso(last), unreadable, positives, negatives

    def _count(self, group: RowGroup, condition: str) -> int:
        sql = f"SELECT count(*) FROM {group.relation} WHERE {condition}"
        (count,) = first_row(self.staging.engine.connection, sql)
        return int(count)


_WORDS = {"entity": "entity", "event_time": "event time", "label": "label"}


def _names(roles: Roles) -> tuple[str, str, str]:
    return roles.entity, roles.event_time, roles.label


def _shown(column: RawColumn | None) -> str:
    """A value's text; for times and lists, which have none, what the engine writes for them."""
    if column is None:
        return "NULL::VARCHAR"
    if column.form in {Form.UNTYPED, Form.TEXT}:
        return column.text
    return f"(CASE WHEN {column.is_present} THEN coalesce({column.text}, ({column.sql})::VARCHAR) END)"


def _iso(moment: object) -> str | None:
    return None if moment is None else f"{moment}".replace(" ", "T") + "Z"


def _file_line(group: RowGroup) -> str:
    return f"{group.kind.value}: {group.num_rows:,} rows, {len(group.columns)} columns, such as {group.example}"


def _as_declared(given: Features, roles: Roles, columns: Sequence[ColumnFacts]) -> Features:
    """The features section that says the same, and leaves out what is suspicious."""
    if given.define:
        return given

    suspects = [
        column.name
        for column in columns
        if column.kind != "no feature" and column.suspicion and not column.suspicion.startswith(DOUBT)
    ]

    def named(kind: str) -> tuple[str, ...]:
        return tuple(column.name for column in columns if column.kind == kind and column.name not in suspects)

    return Features(
        entity=roles.entity,
        event_time=roles.event_time or (given.event_time if given.event_time_constant else ""),
        event_time_constant=given.event_time_constant,
        label=replace(given.label, column=roles.label),
        numeric=named("numeric"),
        categorical=named("categorical"),
        boolean=named("boolean"),
        exclude=(*named("left out"), *(column.name for column in columns if column.why == ROW_NUMBER), *suspects),
    )
