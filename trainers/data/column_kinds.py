"""The kind of a raw column, and its values converted to that kind.

===========  ==============================================  =============================================
kind         accepted values                                 form in the frame
===========  ==============================================  =============================================
numeric      numbers; text that reads as a finite number     float64 (int64 if whole and none is missing)
boolean      true/false, 0/1; the words of `BOOLEAN_WORDS`   object: True, False or None
categorical  text; numbers and booleans as their text        object: str or None
===========  ==============================================  =============================================

Ingestion does the same in SQL (`trainers.data.raw_columns`), for all rows at once. This converts tables in memory.
Kinds that nobody declared are found by `trainers.data.kind_inference`.
"""

from __future__ import annotations

import decimal
import math
from typing import TYPE_CHECKING

import numpy as np

from divisions.schema import FLOAT32_MAX, FeatureKind
from divisions.stored_values import BOOLEAN_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray


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

    codes, values = distinct(column)
    converted = np.array([*map(convert, values), None], dtype=object)
    cast_N = pd.Series(converted[codes], index=column.index, name=column.name, dtype=object)
    is_lost = np.array([*(value is None for value in converted[:-1]), False])
    return cast_N, is_lost[codes]


def distinct(column: pd.Series) -> tuple[NDArray[np.int64], list[object]]:
    """The different values of a column, and for each row which of them it has: ``int64[N]``, -1 where it is null.

    Many rows have few distinct values, so whatever is done with values is done once for each.
    """
    import pandas as pd

    if pd.api.types.infer_dtype(column, skipna=True) in {"string", "boolean", "integer", "empty"}:
        codes_N, values = pd.factorize(column)
        return codes_N.astype(np.int64, copy=False), list(values)
    # True == 1 == 1.0, so the type is part of the key where types are mixed.
    known: dict[object, int] = {}
    found: list[object] = []
    codes = []
    for value, is_null in zip(column.tolist(), column.isna().tolist(), strict=True):
        if is_null:
            codes.append(-1)
            continue
        key = id(value) if isinstance(value, list | dict) else (type(value), value)
        if key not in known:
            known[key] = len(found)
            found.append(value)
        codes.append(known[key])
    return np.array(codes, dtype=np.int64), found


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
