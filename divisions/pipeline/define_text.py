"""Definitions of features as YAML, which `divisions.pipeline.define_options` reads back as the same values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from divisions.pipeline.feature_definition import (
    ALL_TIME,
    Absence,
    Comparable,
    Condition,
    FeatureDefinition,
    Operator,
    Truth,
)

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORDS_OF_YAML = {"true", "false", "yes", "no", "on", "off", "null"}


def definitions_yaml(define: Iterable[FeatureDefinition]) -> list[str]:
    """The lines of ``features.define``, without their indentation.

    >>> from divisions.pipeline.feature_definition import Aggregate
    >>> definitions_yaml([FeatureDefinition("plan", Aggregate.LAST, "plan")])
    ['define:', '  plan: last']
    """
    lines = [f"  {scalar(definition.name)}: {_definition(definition)}" for definition in define]
    return ["define:", *lines] if lines else []


def absence_yaml(absence: Absence) -> str:
    """The value of ``features.label``."""
    parts = [f"absent: {_conditions(absence.where)}", f"for: {absence.horizon}"]
    if absence.active_within != absence.horizon:
        parts.append(f"active_within: {absence.active_within}")
    if absence.times > 1:
        parts += [f"every: {absence.every}", f"times: {absence.times}"]
    return "{" + ", ".join(parts) + "}"


def _definition(definition: FeatureDefinition) -> str:
    over = _list(map(str, definition.windows)) if definition.is_listed else str(definition.windows[0])
    is_default = not definition.is_listed and definition.windows == (ALL_TIME,)
    if is_default and not definition.where and definition.column == definition.name:
        return definition.aggregate.value
    parts = [f"{definition.aggregate.value}: {scalar(definition.column)}"]
    if definition.where:
        parts.append(f"where: {_conditions(definition.where)}")
    if not is_default:
        parts.append(f"over: {over}")
    return "{" + ", ".join(parts) + "}"


def _conditions(where: tuple[Condition, ...]) -> str:
    """Conditions as a mapping on one line."""
    entries = []
    for column, group in groupby(where, key=lambda condition: condition.column):
        first, *others = group
        if first.operator is Operator.IN:
            entries.append(f"{scalar(column)}: {_values(first)}")
        else:
            words = ", ".join(f"{one.operator.value}: {_values(one)}" for one in (first, *others))
            entries.append(f"{scalar(column)}: {{{words}}}")
    return "{" + ", ".join(entries) + "}"


def _values(condition: Condition) -> str:
    values = [_comparable(value) for value in condition.values]
    return values[0] if len(values) == 1 else _list(values)


def _comparable(value: Comparable) -> str:
    match value:
        case Truth():
            return str(value.value).lower()
        case float():
            return _number(value)
    return scalar(value)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _list(items: Iterable[str]) -> str:
    return "[" + ", ".join(items) + "]"


def scalar(text: str) -> str:
    """A text, in quotes unless nobody can take it for anything else."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08X}"
