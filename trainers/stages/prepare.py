"""Raw events to rows to learn from, and to the files of the offline store."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from divisions.pipeline.definition import Pipeline
from divisions.pipeline.variables import expand
from divisions.progress import step
from divisions.registry_run import RegistryRun, RunDataset
from trainers.data.engine import limits_for
from trainers.data.feature_store import features_of_others, quarantine_draft, write_offline
from trainers.data.full_disks import full_disk_told
from trainers.data.newest_rows import write_newest
from trainers.data.online_features import NEWEST_FEATURES, OFFLINE_FEATURES
from trainers.data.preparation import PreparationTask, Prepared, reading_of
from trainers.stages.parts import Parts
from trainers.stages.previous import Previous


def prepare(
    parts: Parts,
    pipeline: Pipeline,
    uri: str,
    today: dt.date,
    previous: Previous,
    registry_run: RegistryRun,
    newest: Path,
) -> Prepared:
    """Reads the events of a day, and tells what was found. The newest rows go to the draft ``newest``."""
    constant = expand(pipeline.features.event_time_constant, today, pipeline=pipeline.name)
    task = PreparationTask(
        uri=uri,
        features=replace(pipeline.features, event_time_constant=constant),
        label=pipeline.label,
        seed=pipeline.training.hyperparams.seed,
        s3=parts.settings.s3,
        allow_buckets=parts.settings.allow_buckets,
        known=previous.known_kinds,
        distributed=pipeline.data_prep.distributed,
        reading=replace(
            reading_of(pipeline.data_prep, today, parts.clock.wall_s()),
            newest=newest,
            quarantine=quarantine_draft(newest),
        ),
    )
    with step(parts.progress, parts.clock, f"Prepare the data of {uri}") as current:
        prepared = parts.compute.prepare(pipeline.name, task, pipeline.data_prep.resources)
        events, table = prepared.events, prepared.table
        told = f"{events.num_read:,} rows, {table.rows.num_customers:,} customers,"
        if table.rows.is_repeated:
            told += f" {len(table):,} rows of them to learn from,"
        told += f" {table.schema.num_columns} features"
        current.detail = f"{told}; {', '.join(events.formats)}"
    if events.num_quarantined:
        partition = f"partition={events.partition or table.last_day}"
        folder = parts.settings.home / "quarantine" / pipeline.name / partition
        with full_disk_told("writing the quarantine", folder):
            place = events.unusable.write(folder)
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in events.reasons.items())
        parts.progress.notice(f"{events.num_quarantined:,} rows quarantined in {place}: {reasons}")
    for note in table.notes:
        parts.progress.notice(note)
    counts = {"customers": table.rows.num_customers, "rows_quarantined": events.num_quarantined}
    registry_run.log_metrics(counts)
    name = f"{pipeline.name} {events.partition}".strip()
    registry_run.log_dataset(RunDataset(name, uri, prepared.data_sha256, table.schema, counts))
    return prepared


def write_features(parts: Parts, pipeline: Pipeline, prepared: Prepared, previous: Previous) -> dict[str, str]:
    """Writes the offline store; returns its files for the lineage, relative to the home."""
    home, table, resources = parts.settings.home, prepared.table, pipeline.data_prep.resources
    also = features_of_others(table, previous.schema)
    with full_disk_told("writing the offline features", home / "features"):
        path = write_offline(home, pipeline.name, prepared.events.partition, table, also)
        assert prepared.events.newest is not None  # `_prepare` asks for them
        newest, limits = path.with_name("newest.parquet"), limits_for(resources.num_cpus, resources.memory_gb)
        write_newest(prepared.events.newest, newest, table.schema, also, limits)
    facts = {OFFLINE_FEATURES: str(path.relative_to(home))}
    return {**facts, NEWEST_FEATURES: str(newest.relative_to(home))}
