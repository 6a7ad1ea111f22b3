"""The data preparation stage: raw events to a feature table, split by customer. Runs in one process, local or on
Ray."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import xxhash
from numpy.typing import NDArray

from divisions.pipeline.columns_yaml import columns_yaml
from divisions.pipeline.definition import DataPrep, Distribution, Features
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from trainers.data.column_facts import ColumnFacts
from trainers.data.column_report import report_columns
from trainers.data.engine import limits_for
from trainers.data.feature_table import FeatureTable, build_feature_table, split_holdout
from trainers.data.ingest import RawEvents, Reading, read_events
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds

VALIDATION_FRACTION = 0.1
"""Share of the training customers that training does not learn from. They select the best epoch. The hold-out must not
select it, or the model's metrics would be too good."""

_VALIDATION_SALT = 0x5EED


LATEST_EVENTS = Reading(is_latest_only=True)


@dataclass(frozen=True, slots=True)
class PreparationTask:
    """What to read. Credentials are part of it, because a Ray runtime environment would show them on the dashboard."""

    uri: str
    features: Features
    label: str
    seed: int
    s3: S3Settings
    allow_buckets: tuple[str, ...]
    known: KnownKinds = NOTHING_KNOWN
    reading: Reading = LATEST_EVENTS
    distributed: Distribution = Distribution.AUTO


@dataclass(frozen=True, slots=True)
class StoredRows:
    """A file of training rows (`trainers.training.training_rows`). ``folder`` of the run's store holds it, and all else
    that belongs to this training."""

    folder: str
    sha256: str
    num_train: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """The prepared data. ``events`` has no rows any more (the table has them), only its quarantine and counts.
    ``columns`` is the column report. ``rows`` says where training reads its rows; None if it gets them from here."""

    events: RawEvents
    table: FeatureTable
    train: FeatureTable
    holdout: FeatureTable
    data_sha256: str
    columns: tuple[ColumnFacts, ...] = ()
    rows: StoredRows | None = None


def reading_of(data_prep: DataPrep, today: dt.date, now_s: float) -> Reading:
    """How a run of ``today`` reads its events: nothing that came later, and the latest event of each customer.

    Args:
        data_prep: the stage, as the pipeline file has it.
        today: the run's day, in UTC.
        now_s: seconds since the Unix epoch. A day of clocks and time zones that differ is allowed for.
    """
    as_of = dt.datetime.combine(today, dt.time.max, tzinfo=dt.UTC)
    return Reading(
        format=data_prep.format,
        limits=limits_for(data_prep.resources.num_cpus, data_prep.resources.memory_gb),
        as_of=as_of,
        # The run's day may be later than the clock's. Then its events are not in the future.
        now=max(as_of, dt.datetime.fromtimestamp(now_s, dt.UTC) + dt.timedelta(days=1)),
        is_latest_only=True,
    )


def prepare(task: PreparationTask, read: Callable[..., RawEvents] = read_events) -> Prepared:
    """Reads and splits the data. ``read`` takes what `read_events` takes.

    Raises:
        InputError: see `trainers.data.ingest` and `trainers.data.feature_table`.
    """
    events = read(
        task.uri,
        s3=task.s3,
        allow_buckets=task.allow_buckets,
        features=task.features,
        label=task.label,
        known=task.known,
        reading=task.reading,
    )
    table = build_feature_table(events, task.features, task.label, seed=task.seed, as_of=task.reading.as_of)
    columns = report_columns(table, events.kinds, events.whys)
    split = split_holdout(table)
    return Prepared(
        events=replace(events, rows=events.rows.take(np.array([], np.int64))),
        table=table,
        train=split.train,
        holdout=split.holdout,
        data_sha256=table_sha256(table),
        columns=columns,
    )


def features_section(features: Features, label: str, prepared: Prepared) -> str:
    """The section ``features`` as YAML that says what this run did, with inferred kinds declared."""
    if not features.label.absence:
        features = replace(features, label=replace(features.label, column=label))
    if not features.define:
        fitted = prepared.table.schema.features
        by_kind = {kind: tuple(one.name for one in fitted if one.kind is kind) for kind in FeatureKind}
        left_out = [name for name in prepared.events.kinds if name not in prepared.table.schema.names]
        features = replace(
            features,
            numeric=by_kind[FeatureKind.NUMERIC],
            categorical=by_kind[FeatureKind.CATEGORICAL],
            boolean=by_kind[FeatureKind.BOOLEAN],
            exclude=tuple(dict.fromkeys((*features.exclude, *left_out))),
        )
    return columns_yaml(features)


def table_sha256(table: FeatureTable) -> str:
    """The hash of the data that a model was trained on: schema, customers, features and labels."""
    digest = hashlib.sha256(table.schema.to_json())
    digest.update("\0".join(table.entities).encode())
    digest.update(np.ascontiguousarray(table.x).data)
    digest.update(np.ascontiguousarray(table.y).data)
    return digest.hexdigest()


def validation_mask(table: FeatureTable, seed: int) -> NDArray[np.bool_]:
    """The training customers that select the best epoch: a tenth of each label, at least one, by their hash.

    All rows of a customer are on one side.

    **Shape**: ``bool[N]``.
    """
    hashes_N = np.array(
        [xxhash.xxh3_64_intdigest(name.encode(), seed=seed ^ _VALIDATION_SALT) for name in table.entities]
    )
    mask_N = np.zeros(len(table), dtype=bool)
    for label in (0.0, 1.0):
        rows = np.flatnonzero(table.y == label)
        count = max(1, round(len(rows) * VALIDATION_FRACTION)) if len(rows) > 1 else 0
        mask_N[rows[np.argsort(hashes_N[rows], kind="stable")[:count]]] = True
    if not table.rows.is_repeated:
        return mask_N
    mask_N = np.isin(hashes_N, hashes_N[mask_N])
    return mask_N & ~mask_N.all()  # a single customer is learned from
