"""Measures an exported graph: its scores of the hold-out, its threshold, and its time for a row."""

from __future__ import annotations

from collections.abc import Callable

from divisions.pipeline.definition import Pipeline
from divisions.versions import RegisteredVersion
from trainers.data.preparation import Prepared
from trainers.export.exported import Calibrated
from trainers.training.training_rows import validation_rows
from trainers.validation.latency import latency_p99_ms
from trainers.validation.thresholds import choose_threshold
from trainers.validation.validation import Validated, validate_model


def measure(
    pipeline: Pipeline,
    prepared: Prepared,
    model_onnx: bytes,
    calibrated: Calibrated,
    previous: RegisteredVersion | None,
    now_s: Callable[[], float],
) -> Validated:
    """Judges the graph on customers that training never used; others choose the threshold."""
    from trainers.export.onnx_export import row_runner, scorer

    score = scorer(model_onnx)
    rows_NF, labels_N = validation_rows(prepared, pipeline.training.hyperparams.seed)
    chosen = choose_threshold(pipeline.validation.decision, labels_N, score(rows_NF))
    latency_ms = latency_p99_ms(row_runner(model_onnx, prepared.holdout.x[:1]), now_s)
    scores_N = score(prepared.holdout.x)
    return validate_model(prepared, scores_N, chosen, calibrated, latency_ms, previous, pipeline.validation)
