"""The validation report as files of a run."""

from __future__ import annotations

from pathlib import Path

from divisions.bundle import ONNX, REFERENCE
from divisions.pipeline.definition import Pipeline
from trainers.data.preparation import Prepared
from trainers.data.reference import Reference
from trainers.export.exported import Calibrated
from trainers.validation.page import render_page
from trainers.validation.report import validation_report
from trainers.validation.validation import Validated

REPORT_JSON = "validation/report.json"
REPORT_HTML = "validation/report.html"
DETAILS_JSON = "validation/details.json"
"""What was seen in the data, and how the graphs differ: for programs."""


def report_files(
    pipeline: Pipeline, run_id: str, prepared: Prepared, bundle: Path, validated: Validated, calibrated: Calibrated
) -> dict[str, str]:
    """The report's files, by their paths among a run's artifacts. ``bundle`` is the run's own."""
    from trainers.export.onnx_export import scorer

    score = scorer((bundle / ONNX).read_bytes())
    reference = Reference.from_json((bundle / REFERENCE).read_bytes())
    title, seed = f"{pipeline.model_name}, run {run_id}", pipeline.training.hyperparams.seed
    scores_N = score(prepared.holdout.x)
    report = validation_report(title, prepared, reference, validated, calibrated, scores_N, score, seed)
    return {REPORT_JSON: report.to_json(), REPORT_HTML: render_page(report)}
