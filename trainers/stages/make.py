"""Rows to a calibrated model, and to the graphs that serve it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from divisions.pipeline.definition import Pipeline
from divisions.progress import step
from divisions.registry_run import RegistryRun
from divisions.versions import RegisteredVersion
from trainers.data.preparation import Prepared
from trainers.export.exported import Calibrated, Exported
from trainers.export.exported import calibrate as calibrate_model
from trainers.export.exported import export as export_model
from trainers.stages.outlook import Outlook
from trainers.stages.parts import Parts
from trainers.training.compute import TrainingTask
from trainers.training.cost import cost_of
from trainers.training.device_use import DeviceUse
from trainers.training.training_rows import num_train, training_data
from trainers.validation.measure import measure
from trainers.validation.validation import Validated

if TYPE_CHECKING:
    from trainers.training.kinds import TrainedModel


def make(
    parts: Parts, pipeline: Pipeline, prepared: Prepared, registry_run: RegistryRun
) -> tuple[Calibrated, Exported]:
    """Trains a model, calibrates it and exports it."""
    model, seed = train(parts, pipeline, prepared, registry_run), pipeline.training.hyperparams.seed
    calibrated = calibrate(parts, prepared, model, seed)
    return calibrated, export(parts, prepared, model, seed)


def train(parts: Parts, pipeline: Pipeline, prepared: Prepared, registry_run: RegistryRun) -> TrainedModel:
    hyperparams = pipeline.training.hyperparams
    data = prepared.rows or training_data(prepared, hyperparams.seed)
    reached = 0
    cost = cost_of(prepared.table.schema, num_train(data), hyperparams)
    outlook = Outlook(cost, pipeline.training, parts.clock.monotonic_s, parts.progress.notice)
    outlook.begin()

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        nonlocal reached
        reached = epoch
        outlook.epoch(epoch, metrics)
        registry_run.log_metrics(metrics, step=epoch)
        parts.progress.epoch_finished(epoch, hyperparams.epochs, metrics)

    def on_device(use: DeviceUse) -> None:
        registry_run.set_tags(use.tags)
        if use.metrics:
            registry_run.log_metrics(use.metrics)

    task = TrainingTask(pipeline.name, prepared.table.schema, data, hyperparams)
    with step(parts.progress, parts.clock, "Train") as current:
        resources, workers = pipeline.training.resources, pipeline.training.workers
        model = parts.compute.train(task, resources, workers, on_epoch, on_device)
        rows = "rows" if prepared.table.rows.is_repeated else "customers"
        early = f" of {hyperparams.epochs}" if reached < hyperparams.epochs else ""
        current.detail = f"{reached}{early} epochs over {num_train(data):,} {rows}"
    return model


def calibrate(parts: Parts, prepared: Prepared, model: TrainedModel, seed: int) -> Calibrated:
    with step(parts.progress, parts.clock, "Calibrate") as current:
        calibrated = calibrate_model(model, prepared, seed)
        current.detail = str(calibrated.calibration)
    return calibrated


def export(parts: Parts, prepared: Prepared, model: TrainedModel, seed: int) -> Exported:
    with step(parts.progress, parts.clock, "Export to ONNX") as current:
        exported = export_model(model, prepared, seed)
        current.detail = f"differs from the trained model by {exported.parity:.1e} at most"
        if exported.half_parity is not None and exported.half_onnx:
            current.detail += f", in float16 by {exported.half_parity.max_difference:.1e}"
    if exported.why:
        parts.progress.notice(f"no float16 variant: {exported.why}")
    return exported


def validate(
    parts: Parts,
    pipeline: Pipeline,
    prepared: Prepared,
    model_onnx: bytes,
    calibrated: Calibrated,
    previous: RegisteredVersion | None,
) -> Validated:
    with step(parts.progress, parts.clock, "Validate") as current:
        validated = measure(pipeline, prepared, model_onnx, calibrated, previous, parts.clock.monotonic_s)
        current.detail = validated.summary
    for warning in (*validated.decided.notes, *validated.warnings):
        parts.progress.notice(warning)
    return validated
