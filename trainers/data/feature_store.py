"""Writes the feature table: offline as Parquet for later runs, and as rows for the online store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from divisions.online_store import OnlineRow
from divisions.schema import FeatureKind

if TYPE_CHECKING:
    from trainers.data.feature_table import FeatureTable


def write_offline(home: Path, pipeline: str, partition: str, table: FeatureTable) -> Path:
    """Writes ``home/features/<pipeline>/partition=<partition>/part.parquet``. Readers get the old or the new file.

    Columns are the entity, the event time, the label (0 or 1) and the raw features. A second run of a partition
    replaces its file. If ``partition`` is empty, the day of the last event is used.
    """
    schema = table.schema
    day = partition or str(table.raw[schema.event_time].max().date())
    folder = home / "features" / pipeline / f"partition={day}"
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / "part.parquet", folder / ".part.parquet.draft"
    columns = [schema.entity, schema.event_time, schema.label, *schema.names]
    table.raw[columns].to_parquet(draft, index=False)
    draft.replace(path)
    return path


def online_rows(table: FeatureTable) -> list[OnlineRow]:
    """The rows of the online store: raw values by feature name, as in a request; null where missing."""
    schema = table.schema
    columns = [_plain(table.raw[feature.name], feature.kind) for feature in schema.features]
    # Whole microseconds are exact. Nanoseconds as a double would be rounded.
    microseconds = table.raw[schema.event_time].astype("datetime64[us, UTC]").astype("int64").tolist()
    return [
        OnlineRow(entity, time_us / 1e6, dict(zip(schema.names, values, strict=True)))
        for entity, time_us, *values in zip(table.entities, microseconds, *columns, strict=True)
    ]


def _plain(column: pd.Series, kind: FeatureKind) -> list[object]:
    """Python values; None for the values that pandas counts as missing."""
    values = column.tolist()
    if kind is FeatureKind.NUMERIC and column.dtype != object:
        return [None if value != value else value for value in values]  # noqa: PLR0124  # NaN differs from itself
    return [None if missing else value for value, missing in zip(values, column.isna(), strict=True)]
