"""Encodes whole tables, column by column. Same result as `divisions.schema.FeatureSchema.encode_row` for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from divisions.schema import MISSING, UNKNOWN_CODE, Feature
from trainers.data.column_kinds import cast
from trainers.data.customer_rows import Column, Flags, Numbers, Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray


_BLOCK_ROWS = 4_096


def encode_columns(features: Sequence[Feature], columns: Mapping[str, Column], num_rows: int) -> NDArray[np.float32]:
    """Encodes raw values.

    Args:
        features: the columns to make, in order.
        columns: raw values. An absent column has only missing values. A value that does not fit its kind is missing.
        num_rows: the rows of each.

    Returns:
        ``float32[N, F]``.
    """
    x_NF = np.empty((num_rows, len(features)), dtype=np.float32)
    missing_N = np.full(num_rows, MISSING, dtype=np.float32)
    encoded = [
        encode_column(feature, columns[feature.name]) if feature.name in columns else missing_N for feature in features
    ]
    # Block by block, so that the rows that are being filled stay in the processor's cache.
    for start in range(0, num_rows, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        for index, column_N in enumerate(encoded):
            x_NF[block, index] = column_N[block]
    return x_NF


def encode_column(feature: Feature, column: Column) -> NDArray[np.float32]:
    """Encodes one raw column as ``float32[N]``."""
    match cast(column, feature.kind):
        case Numbers(values_N):
            return values_N.astype(np.float32)
        case Flags(codes_N):
            return np.array([0.0, 1.0, MISSING], dtype=np.float32)[codes_N]
        case Texts(codes_N, texts):
            known = {name: position + 1.0 for position, name in enumerate(feature.categories)}
            encoded = [*(known.get(text, UNKNOWN_CODE) for text in texts), MISSING]
            return np.array(encoded, dtype=np.float32)[codes_N]
