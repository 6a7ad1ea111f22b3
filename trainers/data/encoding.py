"""Encodes whole tables, column by column. Same result as `divisions.schema.FeatureSchema.encode_row` for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from divisions.schema import MISSING, UNKNOWN_CODE, Feature, FeatureKind
from trainers.data.column_kinds import cast, distinct

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def encode_frame(features: Sequence[Feature], frame: pd.DataFrame) -> NDArray[np.float32]:
    """Encodes raw values.

    Args:
        features: the columns to make, in order.
        frame: raw values. An absent column has only missing values. A value that does not fit its kind is missing.

    Returns:
        ``float32[N, F]``.
    """
    x_NF = np.full((len(frame), len(features)), MISSING, dtype=np.float32)
    for index, feature in enumerate(features):
        if feature.name in frame.columns:
            x_NF[:, index] = encode_column(feature, frame[feature.name])
    return x_NF


def encode_column(feature: Feature, column: pd.Series) -> NDArray[np.float32]:
    """Encodes one raw column as ``float32[N]``."""
    import pandas as pd

    if feature.kind is FeatureKind.NUMERIC:
        numbers, _ = cast(column, feature.kind)
        return np.asarray(numbers, dtype=np.float32)
    codes_N, found = distinct(column)
    values = cast(pd.Series(found, dtype=object), feature.kind)[0].tolist()
    if feature.kind is FeatureKind.BOOLEAN:
        known: dict[object, float] = {True: 1.0, False: 0.0}
    else:
        known = {name: position + 1.0 for position, name in enumerate(feature.categories)}
    encoded = [MISSING if value is None else known.get(value, UNKNOWN_CODE) for value in values]
    return np.array([*encoded, MISSING], dtype=np.float32)[codes_N]
