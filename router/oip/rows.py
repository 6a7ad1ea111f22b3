"""The tensor ``rows``, ``float32[N, F]``: the model's own encoding (see `divisions.schema`), checked and cut. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from divisions.errors import InvalidFeaturesError, ReplicaFailedError
from divisions.schema import FLOAT32_MAX, Feature, FeatureKind, FeatureSchema
from router.oip.codec import Tensor
from router.oip.values import Floats, check_size, json_array, to_float32
from router.predict.decode import MAX_ROWS

ROWS = "rows"


class RowBounds:
    """The values that a ``rows`` tensor may have: finite numbers, codes of the schema, and NaN for missing."""

    __slots__ = ("_highest_F", "_lowest_F", "features")

    def __init__(self, features: Sequence[Feature]) -> None:
        highest = {
            FeatureKind.NUMERIC: lambda feature: FLOAT32_MAX,
            FeatureKind.BOOLEAN: lambda feature: 1.0,
            FeatureKind.CATEGORICAL: lambda feature: float(len(feature.categories)),
        }
        self.features = tuple(features)
        self._highest_F = np.array([highest[feature.kind](feature) for feature in features], np.float32)
        numeric_F = np.array([feature.kind is FeatureKind.NUMERIC for feature in features])
        self._lowest_F = np.where(numeric_F, np.float32(-FLOAT32_MAX), np.float32(0.0))

    def check(self, rows_NF: Floats) -> None:
        """Raises `InvalidFeaturesError` for infinities and codes out of range. NaN passes every comparison."""
        if ((rows_NF < self._lowest_F) | (rows_NF > self._highest_F)).any():
            column = int(((rows_NF < self._lowest_F) | (rows_NF > self._highest_F)).any(axis=0).argmax())
            feature = self.features[column]
            raise InvalidFeaturesError(
                f"column {column} of `{ROWS}`, {feature.kind.value} feature {feature.name!r}, is out of range",
                remedy="numbers must be finite, booleans 0 or 1, categories codes of the schema; NaN means missing",
            )


class EncodedRows:
    """A checked ``rows`` tensor; packing cuts views of it. Is a `router.predict.jobs.RowSource`."""

    __slots__ = ("_features", "_payload", "_row_bytes", "rows")

    def __init__(self, tensor: Tensor, bounds: RowBounds) -> None:
        columns = len(bounds.features)
        if tensor.datatype != "FP32" or len(tensor.shape) != 2 or tensor.shape[1] != columns:
            raise InvalidFeaturesError(
                f"`{ROWS}` must be FP32 of shape [N, {columns}]", remedy="see the model's metadata for its features"
            )
        self.rows = check_rows(tensor.shape[0])
        self._features = bounds.features
        self._row_bytes = 4 * columns
        if tensor.raw is not None:
            check_size(ROWS, tensor.raw, tensor.num_elements, 4)
            # A copy: after JSON of any length the floats may be unaligned in memory.
            payload = bytes(tensor.raw)
            rows_NF = np.frombuffer(payload, "<f4").reshape(self.rows, columns)
        else:
            rows_NF = to_float32(json_array(ROWS, tensor, float)).reshape(self.rows, columns)
            payload = rows_NF.tobytes()
        bounds.check(rows_NF)
        self._payload = memoryview(payload)

    def pack(self, start: int, stop: int, schema: FeatureSchema) -> memoryview:
        if schema.features != self._features:
            raise ReplicaFailedError(
                "the version that the rows were encoded for is out of service",
                remedy=f"send one tensor per feature instead of `{ROWS}`, or encode them again",
            )
        return self._payload[start * self._row_bytes : stop * self._row_bytes]


def check_rows(rows: int) -> int:
    if rows < 1:
        raise InvalidFeaturesError("the request has no rows", remedy="send at least one")
    if rows > MAX_ROWS:
        raise InvalidFeaturesError(f"one request may carry at most {MAX_ROWS} rows", remedy="split the request")
    return rows
