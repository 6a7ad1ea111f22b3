"""The kinds of columns in the model's previous version, and what to do when a column seems to change its kind.

A kind is inferred from a file's values, so the same column may be text in Parquet and numbers in CSV. A version with
another kind cannot serve beside the previous one, and each would read the other's stored rows wrongly. So the previous
kind is kept if every value can be read in it without a loss. Otherwise the run is refused. A declared kind always wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from divisions.errors import InputError
from divisions.schema import FeatureKind, FeatureSchema
from divisions.stored_values import BOOLEAN_WORDS
from trainers.data.column_kinds import as_text, cast

if TYPE_CHECKING:
    import pandas as pd

_CANONICAL_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|[+-]?\.[0-9]+", re.ASCII)
"""A number that is the same after it was read. A leading zero, as in an area code, would be lost; so would digits
beyond those of a double."""


@dataclass(frozen=True, slots=True)
class KnownKinds:
    """The kind of each feature in the previous version; empty for the first one. ``version`` names it in messages."""

    version: str = ""
    kinds: Mapping[str, FeatureKind] = field(default_factory=dict)

    @classmethod
    def of(cls, version: str, schema: FeatureSchema) -> KnownKinds:
        return cls(version, {feature.name: feature.kind for feature in schema.features})


NOTHING_KNOWN = KnownKinds()


def declared_note(name: str, declared: FeatureKind, known: KnownKinds) -> str:
    """A note if a declaration changes the kind of a column; else empty."""
    previous = known.kinds.get(name)
    if previous is None or previous is declared:
        return ""
    return (
        f"column {name!r} is {declared} as declared in features.{declared}, but was {previous} in version"
        f" {known.version}: this version cannot be served beside it under the same endpoint"
    )


def settled_kind(
    name: str, inferred: FeatureKind | None, column: pd.Series, known: KnownKinds, uri: str
) -> tuple[FeatureKind | None, str]:
    """The kind of a column that nobody declared, and a note if the previous version's kind was kept.

    Raises:
        InputError: the kind differs from the previous version's, and the values do not fit the previous kind.
    """
    previous = known.kinds.get(name)
    if previous is None or previous is inferred or not column.notna().any():
        return inferred, ""
    seems = inferred.value if inferred else "neither number, text nor boolean"
    misfit = first_misfit(column, previous)
    if misfit is not None:
        new_key = f"`features.{inferred}: [{name}]` to change it, or " if inferred else ""
        raise InputError(
            f"column {name!r} of {uri} is {seems}, but was {previous} in version {known.version},"
            f" and {misfit!r} cannot be read as {previous}",
            remedy=f"declare the column: {new_key}`features.{previous}: [{name}]` to keep the kind and quarantine"
            " such rows",
        )
    return previous, (
        f"column {name!r} seems {seems} here, but was {previous} in version {known.version}: it stays {previous};"
        f" declare it in features.{previous} to make that permanent"
    )


def first_misfit(column: pd.Series, kind: FeatureKind) -> str | None:
    """The first value, as text, that would be lost or changed in this kind; None if there is none."""
    present = column[column.notna()]
    _, is_bad = cast(present, kind)
    for value, is_lost in zip(present.tolist(), is_bad.tolist(), strict=True):
        if is_lost or not _is_kept(value, kind):
            return str(value)[:60]
    return None


def _is_kept(value: object, kind: FeatureKind) -> bool:
    match kind:
        case FeatureKind.NUMERIC if isinstance(value, str):
            return _CANONICAL_NUMBER.fullmatch(value.strip()) is not None
        case FeatureKind.BOOLEAN:
            return (as_text(value) or "").strip().lower() in BOOLEAN_WORDS
    return True
