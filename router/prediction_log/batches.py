"""Answers of one version as an Arrow record batch. Pure.

A row comes as the model saw it, so it is decoded by the version's schema. Encoded again, it is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from divisions.prediction_log import REQUEST_ID, pseudonym, unknown_text
from divisions.schema import Feature, FeatureKind
from router.prediction_log.frames import Opened, Rows

_TYPES = {FeatureKind.NUMERIC: pa.float32(), FeatureKind.BOOLEAN: pa.bool_(), FeatureKind.CATEGORICAL: pa.string()}
Vector = npt.NDArray[np.float32]


class BatchMaker:
    """Makes the batches of one version.

    Args:
        opened: the version, and what of it is hashed or left out.
        key: of the hashes.
    """

    def __init__(self, opened: Opened, key: bytes) -> None:
        self._opened = opened
        self._key = key
        self._hashed = frozenset(opened.policy.hash)
        self._left_out = frozenset(opened.policy.leave_out)
        kept = [feature for feature in opened.schema.features if feature.name not in self._left_out]
        self._kept = kept
        fields = [pa.field(each.name, pa.string() if each.name in self._hashed else _TYPES[each.kind]) for each in kept]
        self.schema = pa.schema(
            [
                pa.field("time", pa.timestamp("us", "UTC")),
                pa.field(REQUEST_ID, pa.string()),
                pa.field("row", pa.int32()),
                pa.field("entity", pa.string()),
                pa.field("model", pa.string()),
                pa.field("version", pa.string()),
                pa.field("score", pa.float32()),
                pa.field("features", pa.struct(fields)),
            ]
        )

    def batch(self, parts: Sequence[Rows]) -> Any:
        """One batch of all rows of the parts.

        Args:
            parts: rows of this version.

        Raises:
            ValueError: they are not of its schema.
        """
        ids = [request_id for part in parts for request_id in part.ids]
        entities = [entity for part in parts for entity in part.entities]
        times_s = np.concatenate([np.frombuffer(part.arrived_s, np.float64) + part.offset_s for part in parts])
        num_rows, num_columns = len(ids), self._opened.schema.num_columns
        rows_NF = _joined([part.encoded for part in parts], np.float32).reshape(num_rows, num_columns)
        constants = (self._opened.model, self._opened.version)
        columns = [
            pa.array(np.rint(times_s * 1e6).astype(np.int64), pa.timestamp("us", "UTC")),
            self._texts(REQUEST_ID, texts_of(ids)),
            pa.array(_joined([part.places for part in parts], np.int32)),
            self._texts(self._opened.schema.entity, pa.array(entities, pa.string())),
            *[pa.repeat(pa.scalar(text, pa.string()), num_rows) for text in constants],
            pa.array(_joined([part.scores for part in parts], np.float32)),
            self._features(rows_NF),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _texts(self, name: str, texts: Any) -> Any:
        """A column of texts as the policy wants it."""
        if name in self._left_out:
            return pa.nulls(len(texts), pa.string())
        if name in self._hashed:
            return self._hash(texts)
        return texts

    def _hash(self, values: Any) -> Any:
        hashed = [None if value is None else pseudonym(self._key, str(value)) for value in values.to_pylist()]
        return pa.array(hashed, pa.string())

    def _features(self, rows_NF: Vector) -> Any:
        """Shape: ``[N, F]`` to N structs."""
        arrays = []
        for feature in self._kept:
            column = self._opened.schema.names.index(feature.name)
            array = decode(feature, rows_NF[:, column])
            if feature.name in self._hashed:
                array = self._hash(array)
            arrays.append(array)
        kind = self.schema.field("features").type
        if not arrays:
            return pa.array([{}] * len(rows_NF), kind)
        return pa.StructArray.from_arrays(arrays, fields=list(kind))


def texts_of(ids: Sequence[bytes]) -> Any:
    """Requests' ids as texts. A caller may have sent one that is no Unicode."""
    try:
        return pa.array(ids, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([each.decode(errors="replace") for each in ids], pa.string())


def decode(feature: Feature, values_N: Vector) -> Any:
    """One feature's values as they came, from the encoding of `divisions.schema`; null for a missing one."""
    is_missing_N = np.isnan(values_N)
    match feature.kind:
        case FeatureKind.NUMERIC:
            return pa.array(values_N, pa.float32(), mask=is_missing_N)
        case FeatureKind.BOOLEAN:
            return pa.array(values_N > 0.5, pa.bool_(), mask=is_missing_N)
        case FeatureKind.CATEGORICAL:
            texts = pa.array([unknown_text(feature.categories), *feature.categories], pa.string())
            codes_N = np.where(is_missing_N, 0, values_N).astype(np.int64)
            return texts.take(pa.array(codes_N, pa.int64(), mask=is_missing_N))


def _joined(parts: Sequence[bytes], kind: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.frombuffer(b"".join(parts), kind)
