"""Which columns can be features, and their kinds: as declared, as in the previous version, or by their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from divisions.errors import InputError
from divisions.schema import FeatureKind
from trainers.data.declared_columns import excluded
from trainers.data.kind_inference import count_values, kind_of, why_kind
from trainers.data.known_kinds import KnownKinds, declared_note, first_misfit, settled_kind
from trainers.data.row_groups import RowGroup
from trainers.data.row_numbers import find_row_numbers
from trainers.data.spelled_numbers import Spelling
from trainers.data.spelling_inference import infer_spellings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from divisions.pipeline.definition import DataFormat, Features


ROW_NUMBER = "it numbers the rows"
_NO_FEATURE = "column {!r} is no feature: it is all null, or neither number, text nor boolean"


@dataclass(frozen=True, slots=True)
class FeatureColumns:
    """Attributes:
    kinds: the kind of each column that can be a feature.
    whys: why each column has its kind, or none.
    left_out: columns that are no features any more, with their kind in the previous version. It may still serve, and it
        reads the same stored rows.
    excluded: columns that ``features.exclude`` takes.
    notes: what was inferred or left out.
    """

    kinds: dict[str, FeatureKind]
    whys: dict[str, str]
    left_out: dict[str, FeatureKind]
    excluded: frozenset[str]
    notes: tuple[str, ...]


def spell_numbers(
    connection: DuckDBPyConnection, groups: Sequence[RowGroup], names: Sequence[str], form: DataFormat
) -> list[str]:
    """Gives the columns ``names``, which are to be numbers, the spelling of their texts; returns notes."""
    present = [name for name in names if any(name in group.columns for group in groups)]
    counts = count_values(connection, groups, present)
    spelling = Spelling(form.decimal, form.thousands) if form.decimal else None
    return infer_spellings(connection, groups, counts, present, spelling)


def choose_columns(
    connection: DuckDBPyConnection,
    groups: Sequence[RowGroup],
    features: Features,
    label: str,
    known: KnownKinds,
    form: DataFormat,
    uri: str,
    *,
    is_strict: bool = True,
) -> FeatureColumns:
    """Decides on every column except entity, event time and label. Gives ``groups`` the spelling of their numbers.

    Raises:
        InputError: a column has another kind than in the previous version, and a value would be lost. If not
            ``is_strict``, that is a note instead.
    """
    declared = dict.fromkeys(features.numeric, FeatureKind.NUMERIC)
    declared |= dict.fromkeys(features.categorical, FeatureKind.CATEGORICAL)
    declared |= dict.fromkeys(features.boolean, FeatureKind.BOOLEAN)
    present = dict.fromkeys(name for group in groups for name in group.columns)
    without, notes = excluded(features, label, present)
    names = [name for name in present if name not in {features.entity, features.event_time, label, *without}]
    numbering = find_row_numbers(connection, groups, [name for name in names if name not in declared])
    names = [name for name in names if name not in numbering]
    notes += [
        f"column {name!r} is no feature: {ROW_NUMBER}; declare it under features.numeric to learn it"
        for name in numbering
    ]
    asked = [name for name in names if declared.get(name, FeatureKind.NUMERIC) is FeatureKind.NUMERIC]
    counts = count_values(connection, groups, asked)
    spelling = Spelling(form.decimal, form.thousands) if form.decimal else None
    notes += infer_spellings(connection, groups, counts, features.numeric, spelling)
    kinds: dict[str, FeatureKind] = {}
    whys = dict.fromkeys(numbering, ROW_NUMBER)
    for name in names:
        if name in declared:
            kinds[name], whys[name] = declared[name], f"declared in features.{declared[name].value}"
            notes.append(declared_note(name, declared[name], known))
            continue
        kind, note = kind_of(counts[name]), ""
        whys[name] = why_kind(kind, counts[name])
        if counts[name].total:
            find_misfit = partial(first_misfit, connection, groups, name)
            try:
                kind, note = settled_kind(name, kind, find_misfit, known, uri)
            except InputError as error:
                if is_strict:
                    raise
                note = f"a run would refuse this input: {error}"
            else:
                whys[name] = f"kept from version {known.version}" if note else whys[name]
        if kind is not None:
            kinds[name] = kind
        notes.append(note if kind is not None or note else _NO_FEATURE.format(name))
    left_out = {name: kind for name, kind in known.kinds.items() if name in {*without, *numbering}}
    return FeatureColumns(kinds, whys, left_out, without, tuple(note for note in notes if note))
