"""Raw values of the online store, read as a version's schema says. Pure.

A stored row may be older than a version's schema, or newer: another run may have read the same column as text where
this one read numbers. So a gateway reads stored values by the rules that trainers use for columns
(`trainers.data.column_kinds`). These rules are for stored rows only. A caller's values must have the schema's types.
"""

from __future__ import annotations

import math
import re
from typing import Final

from divisions.schema import FeatureKind

BOOLEAN_WORDS: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
"""The words that count as a boolean, in lower case."""

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def read_as(kind: FeatureKind, value: object) -> object:
    """A stored JSON value as a value of ``kind``; None stays None.

    >>> read_as(FeatureKind.CATEGORICAL, 408.0), read_as(FeatureKind.NUMERIC, "408"), read_as(FeatureKind.BOOLEAN, 1)
    ('408', 408.0, True)

    Raises:
        ValueError: the value has no form in this kind.
    """
    if value is None:
        return None
    match kind:
        case FeatureKind.CATEGORICAL:
            return text_of(value)
        case FeatureKind.NUMERIC:
            return _number_of(value)
        case FeatureKind.BOOLEAN:
            return _boolean_of(value)


def text_of(value: object) -> str:
    """The text of a text, number or boolean. A whole number has no decimal point.

    Raises:
        ValueError: the value is of another type.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return str(value)
    raise ValueError(f"a {type(value).__name__} has no text")


def _number_of(value: object) -> float:
    match value:
        case bool():
            pass
        case int() | float():
            return value
        case str() if _NUMBER.fullmatch(value.strip()):
            number = float(value)
            if math.isfinite(number):
                return number
    raise ValueError(f"a {type(value).__name__} is no number")


def _boolean_of(value: object) -> bool:
    found = BOOLEAN_WORDS.get(text_of(value).strip().lower())
    if found is None:
        raise ValueError(f"a {type(value).__name__} is no boolean")
    return found
