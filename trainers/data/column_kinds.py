"""The kind of a raw column, and its values converted to that kind.

===========  ==============================================  =============================================
kind         accepted values                                 form in the frame
===========  ==============================================  =============================================
numeric      numbers; text that reads as a finite number     float64 (int64 if whole and none is missing)
boolean      true/false, 0/1; the words of `BOOLEAN_WORDS`   object: True, False or None
categorical  text; numbers and booleans as their text        object: str or None
===========  ==============================================  =============================================

A column without a declared kind gets the kind that nearly all of its values fit. So one stray word in a million numbers
costs one row, not the column.
"""

from __future__ import annotations

import decimal
import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from divisions.schema import FLOAT32_MAX, FeatureKind
from divisions.stored_values import BOOLEAN_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

MAJORITY = 0.95
"""A column gets a kind if at least this share of its values fits it."""


def infer_kind(column: pd.Series, *, is_untyped: bool) -> FeatureKind | None:
    """The kind of a column by its values; None if it cannot be a feature (times, lists, objects) or is all null.

    Args:
        column: raw values, missing ones null.
        is_untyped: whether the values come from a format that has only text (CSV), so that text may mean a number.
    """
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype):
        return FeatureKind.BOOLEAN
    if pd.api.types.is_numeric_dtype(column.dtype):
        return FeatureKind.NUMERIC if column.notna().any() else None
    if column.dtype != object:
        return None
    present = column[column.notna()]
    if present.empty:
        return None
    if is_untyped:
        return _kind_of_text(present)
    counts: dict[FeatureKind | None, int] = {}
    for value_type, count in Counter(map(type, present)).items():
        counts[_kind_of_type(value_type)] = counts.get(_kind_of_type(value_type), 0) + count
    best = max(counts, key=lambda kind: (counts[kind], str(kind)))
    # A mix of kinds becomes text, which can hold all of them.
    return best if counts[best] >= MAJORITY * len(present) or best is None else FeatureKind.CATEGORICAL


def _kind_of_text(present: pd.Series) -> FeatureKind:
    import pandas as pd

    if pd.to_numeric(present, errors="coerce").notna().mean() >= MAJORITY:
        return FeatureKind.NUMERIC
    # "yes" and "no" stay text. Only the words of typed sources, "true" and "false", make a boolean column.
    words = present.astype(str).str.lower()
    return FeatureKind.BOOLEAN if words.isin(["true", "false"]).mean() >= MAJORITY else FeatureKind.CATEGORICAL


def _kind_of_type(value_type: type) -> FeatureKind | None:
    if issubclass(value_type, bool | np.bool_):
        return FeatureKind.BOOLEAN
    if issubclass(value_type, int | float | np.number | decimal.Decimal):
        return FeatureKind.NUMERIC
    return FeatureKind.CATEGORICAL if issubclass(value_type, str) else None


def cast(column: pd.Series, kind: FeatureKind) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Converts a column to the form of its kind.

    Returns:
        the column, null where a value is missing or does not fit; and a mask ``bool[N]`` of the values that do not fit.
    """
    match kind:
        case FeatureKind.NUMERIC:
            return _cast_numeric(column)
        case FeatureKind.BOOLEAN:
            return _cast_each(column, _boolean)
        case FeatureKind.CATEGORICAL:
            return _cast_each(column, as_text)


def to_numbers(column: pd.Series) -> pd.Series:
    """The numbers of a column; null for other values. A boolean is no number, as in JSON and for the gateway."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        column = pd.Series([_plain_number(value) for value in column], index=column.index, dtype=object)
    return pd.to_numeric(column, errors="coerce")


def _plain_number(value: object) -> object:
    match value:
        case bool() | np.bool_():
            return None
        case int() if abs(value) >= 2**63:
            return math.inf if abs(value) > FLOAT32_MAX else float(value)
        case int() | float() | str() | np.number():
            return value
        case decimal.Decimal():
            return float(value)
    return None


def _cast_numeric(column: pd.Series) -> tuple[pd.Series, NDArray[np.bool_]]:
    import pandas as pd

    numbers = to_numbers(column)
    floats = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        is_good = np.abs(floats) <= FLOAT32_MAX
    is_bad = column.notna().to_numpy(dtype=bool) & ~is_good
    if is_good.all() and pd.api.types.is_integer_dtype(numbers.dtype):
        return numbers.astype(np.int64) if numbers.dtype != np.uint64 else numbers.astype(np.float64), is_bad
    return pd.Series(np.where(is_good, floats, np.nan), index=column.index, name=column.name), is_bad


def _cast_each(column: pd.Series, convert: Callable[[object], object]) -> tuple[pd.Series, NDArray[np.bool_]]:
    import pandas as pd

    # Many rows have few distinct values, so each value is converted once. True == 1, so the type is part of the key.
    known: dict[tuple[type, object], object] = {}
    values: list[object] = []
    is_bad = np.zeros(len(column), dtype=bool)
    for index, (value, is_null) in enumerate(zip(column.tolist(), column.isna().tolist(), strict=True)):
        if is_null:
            values.append(None)
            continue
        if isinstance(value, list | dict):
            is_bad[index] = True
            values.append(None)
            continue
        key = (type(value), value)
        if key not in known:
            known[key] = convert(value)
        values.append(known[key])
        is_bad[index] = known[key] is None
    return pd.Series(values, index=column.index, name=column.name, dtype=object), is_bad


def as_text(value: object) -> str | None:
    """A value of a text column; None if it has no text form. A whole number has no decimal point."""
    match value:
        case str():
            return value
        case bool() | np.bool_():
            return "true" if value else "false"
        case float() | np.floating() if float(value).is_integer():
            return str(int(value))
        case int() | float() | np.number() | decimal.Decimal():
            return str(value)
    return None


def _boolean(value: object) -> bool | None:
    text = as_text(value)
    return None if text is None else BOOLEAN_WORDS.get(text.strip().lower())


def read_label(value: object) -> bool | None:
    """The label of an event: a boolean, 0 or 1, or yes/no/true/false in any case; None for other values."""
    return _boolean(value)
