"""A column of one kind as another one: where the previous version took numbers for texts, or texts for numbers.

Each different value is read as the gateway reads a stored one (`divisions.stored_values`). Ingestion itself converts in
SQL (`trainers.data.raw_columns`), and kinds that nobody declared are found by `trainers.data.kind_inference`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divisions.schema import FLOAT32_MAX, FeatureKind
from divisions.stored_values import read_as
from trainers.data.customer_rows import Column, Flags, Numbers, Texts

_KINDS = {Numbers: FeatureKind.NUMERIC, Flags: FeatureKind.BOOLEAN, Texts: FeatureKind.CATEGORICAL}


def cast(column: Column, kind: FeatureKind) -> Column:
    """The column in the form of a kind. A value without one is missing.

    >>> cast(Texts(np.array([1, 0, -1], np.int32), ("?", "408")), FeatureKind.NUMERIC)
    Numbers(values_N=array([408.,  nan,  nan]))
    """
    if _KINDS[type(column)] is kind:
        return column
    codes_N: NDArray[np.integer]
    match column:
        case Numbers(values_N):
            found, codes_N = np.unique(values_N, return_inverse=True)
            values: Sequence[object] = [None if np.isnan(value) else value for value in found.tolist()]
        case Flags(codes_N):
            values = (False, True)
        case Texts(codes_N, texts):
            values = texts
    # A missing value has the code -1, so what is last stands for it.
    read = [*(_read(kind, value) for value in values), None]
    match kind:
        case FeatureKind.NUMERIC:
            return Numbers(np.array([np.nan if value is None else value for value in read], np.float64)[codes_N])
        case FeatureKind.BOOLEAN:
            return Flags(np.array([-1 if value is None else value for value in read], np.int8)[codes_N])
        case FeatureKind.CATEGORICAL:
            places = {text: place for place, text in enumerate(dict.fromkeys(v for v in read if v is not None))}
            codes_of = [-1 if value is None else places[value] for value in read]
            return Texts(np.array(codes_of, np.int32)[codes_N], tuple(map(str, places)))


def _read(kind: FeatureKind, value: object) -> object:
    try:
        found = read_as(kind, value)
    except ValueError:
        return None
    # A gateway refuses such a number when it packs the row.
    return None if isinstance(found, float) and abs(found) > FLOAT32_MAX else found
