"""From a trained model to the graphs that serve: calibrated, exported, and compared with the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from divisions.errors import TrainingError
from trainers.data.preparation import Prepared
from trainers.export.half_precision import HalfParity, check_half, half_precision
from trainers.training.calibration import Calibration, Vector, fit_calibration, sigmoid
from trainers.training.training_rows import validation_rows
from trainers.training.trees import BoostedTrees

if TYPE_CHECKING:
    from trainers.training.kinds import TrainedModel


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What calibration has done to a model. ``before_N`` are the hold-out's probabilities without it."""

    calibration: Calibration
    before_N: Vector


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph and its float16 variant. The variant is empty if it failed its parity check; ``why`` says how.
    ``framework`` is what has made the graph."""

    model_onnx: bytes
    parity: float
    half_onnx: bytes
    half_parity: HalfParity | None
    why: str
    framework: str


def calibrate(model: TrainedModel, prepared: Prepared, seed: int) -> Calibrated:
    """Calibrates the model in place, on the validation rows."""
    from trainers.training.kinds import logits_of

    before_N = sigmoid(logits_of(model, prepared.holdout.x))
    rows_NF, labels_N = validation_rows(prepared, seed)
    calibration = fit_calibration(logits_of(model, rows_NF), labels_N)
    model.recalibrate(calibration.slope, calibration.offset)
    return Calibrated(calibration, before_N)


def export(model: TrainedModel, prepared: Prepared, seed: int) -> Exported:
    """Exports a model.

    Raises:
        TrainingError: it cannot be exported, or the graph gives other probabilities.
    """
    from trainers.export.onnx_export import FRAMEWORK, check_parity, export_onnx
    from trainers.export.tree_export import NO_HALF, export_trees, tree_framework

    schema = prepared.table.schema
    metadata = {"schema_sha256": schema.sha256}
    if isinstance(model, BoostedTrees):
        model_onnx = export_trees(model, schema, metadata)
        parity = check_parity(model, schema, model_onnx, prepared.holdout.x, seed)
        return Exported(model_onnx, parity, b"", None, NO_HALF, tree_framework())
    model_onnx = export_onnx(model, schema, metadata)
    parity = check_parity(model, schema, model_onnx, prepared.holdout.x, seed)
    half_onnx, half_parity, why = _half_variant(model_onnx, prepared, seed)
    return Exported(model_onnx, parity, half_onnx, half_parity, why, FRAMEWORK)


def _half_variant(model_onnx: bytes, prepared: Prepared, seed: int) -> tuple[bytes, HalfParity | None, str]:
    """The float16 graph if it may serve, its parity, and the reason if there is none. GPUs can run float32, too."""
    try:
        half_onnx = half_precision(model_onnx)
    except TrainingError as error:
        return b"", None, error.message
    holdout = prepared.holdout
    parity = check_half(model_onnx, half_onnx, prepared.table.schema, holdout.x, holdout.y, seed)
    return (b"", parity, parity.refusal) if parity.refusal else (half_onnx, parity, "")
