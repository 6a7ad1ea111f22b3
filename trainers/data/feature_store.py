"""The offline store: what was learned from, and what is served, as Parquet files of one partition.

    home/features/<pipeline>/partition=<partition>/part.parquet      training rows: of customers with a label
                                                   newest.parquet    newest rows: of all customers

Both also get the features that only the previous version uses (``also``). A version that still serves reads the same
stored rows, and without these features it would count them as missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from divisions.online_store import OnlineRow
from divisions.schema import Feature, FeatureSchema
from trainers.data.column_kinds import cast

if TYPE_CHECKING:
    from trainers.data.feature_table import FeatureTable


def features_of_others(table: FeatureTable, previous: FeatureSchema | None) -> tuple[Feature, ...]:
    """The previous version's features that the data has, but the table's schema does not."""
    if previous is None:
        return ()
    taken = {*table.schema.names, table.schema.entity, table.schema.event_time, table.schema.label}
    return tuple(one for one in previous.features if one.name not in taken and one.name in table.raw.columns)


def write_offline(home: Path, pipeline: str, partition: str, table: FeatureTable, also: Sequence[Feature] = ()) -> Path:
    """Writes ``home/features/<pipeline>/partition=<partition>/part.parquet``. Readers get the old or the new file.

    Columns are the entity, the event time, the label (0 or 1) and the raw features. A second run of a partition
    replaces its file. If ``partition`` is empty, the day of the last event is used.
    """
    schema = table.schema
    folder = _partition_folder(home, pipeline) / f"partition={partition or table.last_day}"
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / "part.parquet", folder / ".part.parquet.draft"
    frame = table.raw[[schema.entity, schema.event_time, schema.label, *schema.names]]
    frame = frame.assign(**{feature.name: cast(table.raw[feature.name], feature.kind)[0] for feature in also})
    frame.to_parquet(draft, index=False)
    draft.replace(path)
    return path


def newest_draft(home: Path, pipeline: str, run_id: str) -> Path:
    """Where a run's newest rows wait until its model's features are known."""
    return _partition_folder(home, pipeline) / f".newest-{run_id}.draft"


def _partition_folder(home: Path, pipeline: str) -> Path:
    return home / "features" / pipeline


def read_offline(path: Path, schema: FeatureSchema) -> list[OnlineRow]:
    """The rows of the online store, from a file of `write_newest`, or of `write_offline` by an older release.

    Raises:
        OSError, ValueError: the file cannot be read, or is not such a file.
    """
    frame = pd.read_parquet(path)
    missing = {schema.entity, schema.event_time} - set(frame.columns)
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    names = [str(name) for name in frame.columns if name not in {schema.entity, schema.event_time, schema.label}]
    return _rows(frame, schema, {name: frame[name] for name in names})


def _rows(frame: pd.DataFrame, schema: FeatureSchema, columns: dict[str, pd.Series]) -> list[OnlineRow]:
    # Whole microseconds are exact. Nanoseconds as a double would be rounded.
    microseconds = frame[schema.event_time].astype("datetime64[us, UTC]").astype("int64").tolist()
    entities = [str(name) for name in frame[schema.entity]]
    return [
        OnlineRow(entity, time_us / 1e6, dict(zip(columns, values, strict=True)))
        for entity, time_us, *values in zip(entities, microseconds, *map(_plain, columns.values()), strict=True)
    ]


def _plain(column: pd.Series) -> list[object]:
    """Python values; None for the values that pandas counts as missing."""
    values = column.tolist()
    if column.dtype == float and all(value.is_integer() for value in values):
        return [int(value) for value in values]
    if column.dtype != object:
        return [None if value != value else value for value in values]  # noqa: PLR0124  # NaN differs from itself
    return [None if missing else value for value, missing in zip(values, column.isna(), strict=True)]
