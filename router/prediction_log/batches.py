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
from router.prediction_log.frames import Entry, Opened

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

    def batch(self, entries: Sequence[Entry], offset_s: float) -> Any:
        """One row for each row of the answers.

        Args:
            entries: answers of this version.
            offset_s: added to the second of an arrival, it is the time since the Unix epoch.
        """
        sizes = [len(entry[2]) for entry in entries]
        num_rows = sum(sizes)
        rows_NF = np.frombuffer(b"".join([entry[5] for entry in entries]), "<f4").reshape(
            num_rows, self._opened.schema.num_columns
        )
        times_us = np.repeat([round((entry[4] + offset_s) * 1e6) for entry in entries], sizes)
        ids = [entry[1].decode(errors="replace") for entry in entries for _ in entry[2]]
        entities = [key for entry in entries for key in entry[3]]
        constants = (self._opened.model, self._opened.version)
        columns = [
            pa.array(times_us, pa.timestamp("us", "UTC")),
            pa.array(self._texts(REQUEST_ID, ids), pa.string()),
            pa.array([place for entry in entries for place in entry[2]], pa.int32()),
            pa.array(self._texts(self._opened.schema.entity, entities), pa.string()),
            *[pa.repeat(pa.scalar(text, pa.string()), num_rows) for text in constants],
            pa.array(np.array([score for entry in entries for score in entry[6]], np.float32)),
            self._features(rows_NF),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _texts(self, name: str, texts: Sequence[str | None]) -> list[str | None]:
        if name in self._left_out:
            return [None] * len(texts)
        if name in self._hashed:
            return [None if text is None else pseudonym(self._key, text) for text in texts]
        # Half a surrogate pair is valid in JSON, but not in UTF-8.
        return [None if text is None else text.encode(errors="replace").decode() for text in texts]

    def _features(self, rows_NF: Vector) -> Any:
        """Shape: ``[N, F]`` to N structs."""
        arrays = []
        for feature in self._kept:
            column = self._opened.schema.names.index(feature.name)
            array = decode(feature, rows_NF[:, column])
            if feature.name in self._hashed:
                texts = [None if value is None else pseudonym(self._key, str(value)) for value in array.to_pylist()]
                array = pa.array(texts, pa.string())
            arrays.append(array)
        kind = self.schema.field("features").type
        if not arrays:
            return pa.array([{}] * len(rows_NF), kind)
        return pa.StructArray.from_arrays(arrays, fields=list(kind))


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
