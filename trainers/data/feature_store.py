"""The offline store: what was learned from, and what is served, as Parquet files of one partition.

    home/features/<pipeline>/partition=<partition>/part.parquet      training rows: of customers with a label
                                                   newest.parquet    newest rows: of all customers

Both also get the features that only the previous version uses (``also``). A version that still serves reads the same
stored rows, and without these features it would count them as missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.schema import Feature, FeatureSchema
from trainers.data.column_kinds import cast

if TYPE_CHECKING:
    from trainers.data.feature_table import FeatureTable


_DAY_S = 86_400.0


def features_of_others(table: FeatureTable, previous: FeatureSchema | None) -> tuple[Feature, ...]:
    """The previous version's features that the data has, but the table's schema does not."""
    if previous is None:
        return ()
    taken = {*table.schema.names, table.schema.entity, table.schema.event_time, table.schema.label}
    return tuple(one for one in previous.features if one.name not in taken and one.name in table.rows.columns)


def write_offline(home: Path, pipeline: str, partition: str, table: FeatureTable, also: Sequence[Feature] = ()) -> Path:
    """Writes ``home/features/<pipeline>/partition=<partition>/part.parquet``. Readers get the old or the new file.

    Columns are the entity, the event time, the label (0 or 1) and the raw features. A second run of a partition
    replaces its file. If ``partition`` is empty, the day of the last event is used.
    """
    import pyarrow.parquet as pq

    schema = table.schema
    folder = _partition_folder(home, pipeline) / f"partition={partition or table.last_day}"
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / "part.parquet", folder / ".part.parquet.draft"
    columns = {name: table.rows.columns[name] for name in schema.names}
    columns |= {feature.name: cast(table.rows.columns[feature.name], feature.kind) for feature in also}
    roles = (schema.entity, schema.event_time, schema.label)
    # Readers see plain texts, though they are written as places in a dictionary.
    pq.write_table(replace(table.rows, columns=columns).to_arrow(roles, list(columns)), draft, store_schema=False)
    draft.replace(path)
    return path


def newest_draft(home: Path, pipeline: str, run_id: str, now_s: float) -> Path:
    """Where a run's newest rows wait until its model's features are known.

    A run that is killed leaves its drafts there. They hold customers' data, so those that are a day old are removed.
    """
    folder = _partition_folder(home, pipeline)
    for draft in [*folder.glob(".newest-*.draft"), *folder.glob(".quarantine-*.draft")]:
        with contextlib.suppress(FileNotFoundError):  # its own run, or another one, has just removed it
            if draft.stat().st_mtime < now_s - _DAY_S:
                draft.unlink()
    return folder / f".newest-{run_id}.draft"


def quarantine_draft(newest: Path) -> Path:
    """Where the same run's unusable rows wait: beside its newest rows."""
    return newest.with_name(newest.name.replace(".newest-", ".quarantine-", 1))


def _partition_folder(home: Path, pipeline: str) -> Path:
    return home / "features" / pipeline
