"""Real rows as request bodies, prepared before the load starts so that sending costs no encoding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

ENTITY = "customer_id"
NOT_FEATURES = frozenset({"churn", "event_time", "partition"})
"""Columns of the demo's data that are no features: the label, and when the row was seen."""


def read_rows(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Reads rows from Parquet, missing values as None.

    Raises:
        ValueError: the file holds no rows.
    """
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    rows: list[dict[str, Any]] = table.slice(0, limit).to_pylist()
    if not rows:
        raise ValueError(f"{path} holds no rows to send")
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def encode_bodies(
    rows: Iterable[Mapping[str, Any]], entity: str = ENTITY, not_features: frozenset[str] = NOT_FEATURES
) -> list[bytes]:
    """Encodes each row as ``{"customer_id": …, "features": {…}}``; the label never leaves this machine."""
    encoder = msgspec.json.Encoder()
    return [encoder.encode(predict_body(row, entity, not_features)) for row in rows]


def predict_body(
    row: Mapping[str, Any], entity: str = ENTITY, not_features: frozenset[str] = NOT_FEATURES
) -> dict[str, Any]:
    features = {name: value for name, value in row.items() if name != entity and name not in not_features}
    return {entity: str(row[entity]), "features": features} if entity in row else {"features": features}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
