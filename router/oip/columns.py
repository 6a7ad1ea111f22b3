"""From one tensor per feature to a model's rows, by whole columns. Pure.

Missing values:

===========  ==========================  ============================================
feature      datatype                    missing is
===========  ==========================  ============================================
numeric      FP16, FP32, FP64            NaN; null in JSON
numeric      INT8 to INT64, UINT8 …      null in JSON
boolean      BOOL                        null in JSON
categorical  BYTES                       empty, unless a category is; null in JSON
===========  ==========================  ============================================
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from divisions.errors import InvalidFeaturesError
from divisions.schema import UNKNOWN_CODE, FeatureKind, FeatureSchema
from router.oip.codec import Tensor
from router.oip.rows import ROWS, check_rows
from router.oip.values import FLOATS, INTEGERS, Floats, Texts, booleans, finite, numbers, texts

_BYTES = "BYTES"
DATATYPES: dict[FeatureKind, str] = {
    FeatureKind.NUMERIC: "FP32",
    FeatureKind.BOOLEAN: "BOOL",
    FeatureKind.CATEGORICAL: _BYTES,
}
"""The datatype that metadata shows for each kind. Numeric features accept every number type."""


class FeatureColumns:
    """One tensor per feature, checked and converted. Is a `router.predict.jobs.RowSource`.

    Args:
        tensors: the request's inputs.
        kinds: every feature that the endpoint knows.
        required: the features that the request must have; others are optional.
    """

    __slots__ = ("_columns", "rows")

    def __init__(self, tensors: Sequence[Tensor], kinds: Mapping[str, FeatureKind], required: Collection[str]) -> None:
        by_name = {tensor.name: tensor for tensor in tensors}
        if len(by_name) != len(tensors):
            raise InvalidFeaturesError("an input is there twice", remedy="send every input once")
        if not by_name.keys() <= kinds.keys():
            raise InvalidFeaturesError(
                "the request has an input that the model does not know",
                remedy=f"send `{ROWS}` alone, or the features: {', '.join(kinds)}",
            )
        missing = [name for name in required if name not in by_name]
        if missing:
            raise InvalidFeaturesError(
                f"inputs are missing: {', '.join(missing)}", remedy=f"send every feature, or `{ROWS}` alone"
            )
        self.rows = _common_rows(by_name)
        self._columns: dict[str, Floats | Texts] = {
            name: _column(kinds[name], tensor) for name, tensor in by_name.items()
        }

    def pack(self, start: int, stop: int, schema: FeatureSchema) -> bytes:
        rows_NF = np.empty((stop - start, schema.num_columns), "<f4")
        for index, feature in enumerate(schema.features):
            column = self._columns.get(feature.name)
            if column is None:
                rows_NF[:, index] = math.nan
            elif isinstance(column, list):
                codes = category_codes(feature.categories)
                rows_NF[:, index] = [codes.get(text, UNKNOWN_CODE) for text in column[start:stop]]
            else:
                rows_NF[:, index] = column[start:stop]
        return rows_NF.tobytes()


@functools.lru_cache(maxsize=4096)
def category_codes(categories: tuple[str, ...]) -> dict[bytes | None, float]:
    """Codes by UTF-8 text. None is missing, and so is the empty text unless it is a category."""
    known: dict[bytes | None, float] = {text.encode(): float(code + 1) for code, text in enumerate(categories)}
    return {None: math.nan, b"": math.nan} | known


def _common_rows(tensors: Mapping[str, Tensor]) -> int:
    counts: set[int] = set()
    for tensor in tensors.values():
        if len(tensor.shape) not in {1, 2} or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
            raise InvalidFeaturesError(
                f"feature {tensor.name!r} must have the shape [N] or [N, 1]", remedy="send one value per row"
            )
        counts.add(tensor.shape[0])
    if len(counts) != 1:
        raise InvalidFeaturesError("the inputs differ in their number of rows", remedy="send as many of each")
    return check_rows(counts.pop())


def _column(kind: FeatureKind, tensor: Tensor) -> Floats | Texts:
    """One feature's values; the tensor's name is a feature's, its shape is [N] or [N, 1]."""
    if kind is FeatureKind.CATEGORICAL and tensor.datatype == _BYTES:
        return texts(tensor)
    if kind is FeatureKind.BOOLEAN and tensor.datatype == "BOOL":
        return booleans(tensor)
    if kind is FeatureKind.NUMERIC and tensor.datatype in FLOATS:
        return finite(tensor.name, numbers(tensor, FLOATS[tensor.datatype], float))
    if kind is FeatureKind.NUMERIC and tensor.datatype in INTEGERS:
        return finite(tensor.name, numbers(tensor, INTEGERS[tensor.datatype], int))
    raise InvalidFeaturesError(
        f"feature {tensor.name!r} is {kind.value}, and its datatype is not",
        remedy=f"send it as {DATATYPES[kind]}{' or another number' if kind is FeatureKind.NUMERIC else ''}",
    )
