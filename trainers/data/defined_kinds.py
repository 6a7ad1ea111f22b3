"""The kinds of defined features, and whether their columns can be what the definitions take them for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from divisions.errors import InputError
from divisions.pipeline.feature_definition import Aggregate, FeatureDefinition, Truth
from divisions.schema import FeatureKind
from trainers.data.engine import first_row
from trainers.data.kind_inference import count_values, kind_of
from trainers.data.known_kinds import KnownKinds, change_note, declared_note, first_misfit, settled_kind
from trainers.features.aggregation import fixed_kind
from trainers.features.event_columns import EventColumns, Form, Value, value_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from divisions.pipeline.definition import Features
    from trainers.data.row_groups import RowGroup
    from trainers.features.aggregation import DefinedFeature
    from trainers.features.event_columns import ColumnSql

_WHAT = {Form.NUMBER: "number", Form.MOMENT: "time", Form.TRUTH: "truth value", Form.TEXT: "text"}


@dataclass(frozen=True, slots=True)
class DefinedKinds:
    """The kind of each feature that can be computed, and notes for the run's report."""

    kinds: dict[str, FeatureKind]
    notes: tuple[str, ...]


def defined_kinds(
    connection: DuckDBPyConnection,
    groups: Sequence[RowGroup],
    features: Features,
    known: KnownKinds,
    uri: str,
) -> DefinedKinds:
    """The kinds of all defined features: fixed by the aggregate, or declared, known or inferred for ``last``.

    Raises:
        InputError: a kind has changed (see `trainers.data.known_kinds`).
    """
    declared = dict.fromkeys(features.numeric, FeatureKind.NUMERIC)
    declared |= dict.fromkeys(features.categorical, FeatureKind.CATEGORICAL)
    declared |= dict.fromkeys(features.boolean, FeatureKind.BOOLEAN)
    asked = [
        one.column
        for one in features.define
        if one.aggregate is Aggregate.LAST and not all(name in declared for name in one.names)
    ]
    counts = count_values(connection, groups, list(dict.fromkeys(asked)))
    kinds: dict[str, FeatureKind] = {}
    notes: list[str] = []
    for definition in features.define:
        for name in definition.names:
            kind = fixed_kind(definition.aggregate)
            if kind is not None:
                notes.append(change_note(f"feature {name!r} is {kind} by its definition", name, kind, known))
            elif name in declared:
                kind = declared[name]
                notes.append(declared_note(name, kind, known))
            else:
                values = counts[definition.column]
                kind = kind_of(values)
                if values.total:
                    misfit = partial(first_misfit, connection, groups, definition.column)
                    kind, note = settled_kind(name, kind, misfit, known, uri)
                    notes.append(note)
            if kind is not None:
                kinds[name] = kind
            else:
                notes.append(
                    f"feature {name!r} left out: the values of {definition.column!r} are all null, or neither number,"
                    " text nor boolean (days_since takes times)"
                )
    gone = [name for name in known.kinds if name not in kinds]
    if gone:
        notes.append(
            f"version {known.version} also has {', '.join(gone[:5])}{' ...' if len(gone) > 5 else ''}, which features"
            " does not define any more: for that version they are missing in the stored customers"
        )
    return DefinedKinds(kinds, tuple(note for note in notes if note))


def text_columns(features: Features, text_features: Collection[str]) -> set[str]:
    """The columns that definitions and the label read as they are spelled: the code ``007`` is not ``7``.

    Args:
        features: the section of the pipeline file.
        text_features: features that are no numbers.
    """
    where = [condition for one in features.define for condition in one.where]
    if features.label.absence:
        where += features.label.absence.where
    found = {one.column for one in where if any(isinstance(value, str | Truth) for value in one.values)}
    for one in features.define:
        match one.aggregate:
            case Aggregate.DISTINCT | Aggregate.MOST_FREQUENT | Aggregate.DAYS_SINCE:
                found.add(one.column)
            case Aggregate.LAST if any(name in text_features for name in one.names):
                found.add(one.column)
    return found


def why_defined(feature: DefinedFeature, features: Features) -> str:
    """Why a feature has its kind, for the column report."""
    definition = feature.definition
    if definition.aggregate is not Aggregate.LAST:
        return f"the {definition.aggregate.value} of {definition.column!r}"
    if feature.name in getattr(features, feature.kind.value):
        return f"declared in features.{feature.kind.value}"
    return f"the kind of {definition.column!r}"


def misfit_notes(
    connection: DuckDBPyConnection,
    groups: Sequence[tuple[RowGroup, Mapping[str, ColumnSql]]],
    define: Iterable[FeatureDefinition],
    values: Iterable[Value],
) -> list[str]:
    """A note for each column with values that cannot be read as its features need them.

    Raises:
        InputError: no value of a column can.
    """
    asked = [value for value in dict.fromkeys(values) if value.form in _WHAT]
    layout = EventColumns.of(asked, ())
    totals = [[0, 0] for _ in asked]
    for group, columns in groups:
        sums = ", ".join(
            f"count(x{index}), count(*) FILTER (WHERE x{index} IS NULL AND {columns[value.column].is_present})"
            if value.column in columns
            else "0, 0"
            for index, value in enumerate(asked)
        )
        if sums:
            source = f"(SELECT *{layout.projection(columns)} FROM {group.relation} WHERE flaw IS NULL)"
            row = first_row(connection, f"SELECT {sums} FROM {source}")
            for index, total in enumerate(totals):
                total[0] += row[2 * index]
                total[1] += row[2 * index + 1]
    notes = []
    for value, (num_good, num_bad) in zip(asked, totals, strict=True):
        what = _WHAT[value.form]
        if num_bad and not num_good:
            user = next(one for one in define if one.column == value.column and _reads(one, value))
            raise InputError(
                f"the feature {user.name!r} takes the {user.aggregate.value} of {value.column!r}, in which no value is"
                f" a {what}",
                remedy="take its last, count, distinct or most_frequent, or declare data_prep.format",
            )
        if num_bad:
            total_values = num_good + num_bad
            notes.append(
                f"column {value.column!r}: {num_bad:,} of {total_values:,} values are no {what} and count as missing"
            )
    return notes


def _reads(definition: FeatureDefinition, value: Value) -> bool:
    return any(value_of(definition, kind) == value for kind in FeatureKind)
