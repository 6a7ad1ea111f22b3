"""The kinds of columns in the model's previous version, and what to do when a column seems to change its kind.

A kind is inferred from a file's values, so the same column may be text in Parquet and numbers in CSV. A version with
another kind cannot serve beside the previous one, and each would read the other's stored rows wrongly. So the previous
kind is kept if every value can be read in it without a loss. Otherwise the run is refused. A declared kind always wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from divisions.errors import InputError
from divisions.schema import FeatureKind, FeatureSchema
from trainers.data.engine import text_literal
from trainers.data.row_groups import RowGroup

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CANONICAL_NUMBER = r"[+-]?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|[+-]?\.[0-9]+"
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
    return change_note(f"column {name!r} is {declared} as declared in features.{declared}", name, declared, known)


def change_note(stated: str, name: str, kind: FeatureKind, known: KnownKinds) -> str:
    """A note if ``kind``, which is what ``stated`` says, is not the known one; else empty."""
    previous = known.kinds.get(name)
    if previous is None or previous is kind:
        return ""
    return (
        f"{stated}, but was {previous} in version {known.version}:"
        " this version cannot be served beside it under the same endpoint"
    )


def settled_kind(
    name: str,
    inferred: FeatureKind | None,
    find_misfit: Callable[[FeatureKind], str | None],
    known: KnownKinds,
    uri: str,
) -> tuple[FeatureKind | None, str]:
    """The kind of a column with values that nobody declared, and a note if the previous version's kind was kept.

    Args:
        name: the column.
        inferred: its kind by its values.
        find_misfit: returns the first value, as text, that would be lost or changed in a kind; None if there is none.
        known: the previous version's kinds.
        uri: the input, for messages.

    Raises:
        InputError: the kind differs from the previous version's, and the values do not fit the previous kind.
    """
    previous = known.kinds.get(name)
    if previous is None or previous is inferred:
        return inferred, ""
    seems = inferred.value if inferred else "neither number, text nor boolean"
    misfit = find_misfit(previous)
    if misfit is not None:
        new_key = f"`features.{inferred}: [{name}]` to change it, or " if inferred else ""
        raise InputError(
            f"column {name!r} of {uri} is {seems}, but was {previous} in version {known.version},"
            f" and {misfit!r} cannot be read as {previous}",
            remedy=f"declare the column: {new_key}`features.{previous}: [{name}]` to keep the kind and count"
            " such values as missing",
        )
    return previous, (
        f"column {name!r} seems {seems} here, but was {previous} in version {known.version}: it stays {previous};"
        f" declare it in features.{previous} to make that permanent"
    )


def first_misfit(
    connection: DuckDBPyConnection, groups: Sequence[RowGroup], name: str, kind: FeatureKind
) -> str | None:
    """The first value of a column, as text, that would be lost or changed in this kind; None if there is none."""
    for group in groups:
        column = group.columns.get(name)
        if column is None:
            continue
        value = {
            FeatureKind.NUMERIC: column.number,
            FeatureKind.BOOLEAN: column.truth,
            FeatureKind.CATEGORICAL: column.text,
        }[kind]
        is_misfit = f"{value} IS NULL"
        if kind is FeatureKind.NUMERIC and column.spelling is None:
            is_canonical = f"regexp_full_match({column.text}, {text_literal(_CANONICAL_NUMBER)})"
            is_misfit = f"({is_misfit} OR ({column.is_text} AND NOT {is_canonical}))"
        rows = connection.execute(
            f"SELECT coalesce({column.text}, ({column.sql})::VARCHAR) FROM {group.relation}"
            f" WHERE flaw IS NULL AND {column.is_present} AND {is_misfit} ORDER BY id LIMIT 1"
        ).fetchall()
        if rows:
            return str(rows[0][0])[:60]
    return None
