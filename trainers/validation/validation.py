"""The validation stage: hold-out metrics, drift from the previous version, gates, and the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from divisions.bundle import REFERENCE, read_bundle
from divisions.errors import BundleError
from divisions.pipeline.definition import Gate
from divisions.versions import RegisteredVersion
from trainers.data.preparation import Prepared
from trainers.data.reference import Reference, count_rows
from trainers.export.half_precision import HalfParity
from trainers.training.evaluate import evaluate
from trainers.validation.drift import MIN_ROWS, DriftReport, drift_report
from trainers.validation.gates import GateResult, is_passed, judge


@dataclass(frozen=True, slots=True)
class Drift:
    """``score`` is NaN if it could not be measured. ``note`` names the compared version, or says why there is none."""

    score: float
    note: str
    report: DriftReport | None = None


@dataclass(frozen=True, slots=True)
class Validated:
    """The outcome of all gates."""

    metrics: dict[str, float]
    drift: Drift
    gates: tuple[GateResult, ...]

    @property
    def is_passed(self) -> bool:
        return is_passed(self.gates)

    @property
    def refusals(self) -> str:
        """The gates that did not pass, as text; empty when all did."""
        return "; ".join(str(result) for result in self.gates if not is_passed([result]))

    @property
    def summary(self) -> str:
        """One line for the progress output."""
        verdict = "all gates passed" if self.is_passed else "refused"
        auc, drift = self.metrics["auc"], self.metrics["drift_score"]
        return f"auc {auc:.4f}, drift {drift:.3f} ({self.drift.note}); {verdict}"


def validate_model(
    prepared: Prepared, scores_N: NDArray[np.float32], previous: RegisteredVersion | None, gates: tuple[Gate, ...]
) -> Validated:
    """Judges a model by ``scores_N``, its scores for the hold-out's rows."""
    drift = measure_drift(prepared, previous)
    metrics = {**evaluate(prepared.holdout.y, scores_N), "drift_score": drift.score}
    return Validated(metrics, drift, judge(gates, metrics))


def measure_drift(prepared: Prepared, previous: RegisteredVersion | None) -> Drift:
    """Compares this run's raw rows with the reference histograms of the previous version.

    The first version has no previous version: its score is 0. The score is NaN if the reference cannot be read, or if
    one side has too few rows. NaN is unknown, which a gate refuses.
    """
    if previous is None:
        return Drift(0.0, "no earlier version to drift from")
    against = f"against version {previous.version}"
    try:
        reference = _read_reference(previous.bundle_path, previous.bundle_sha256)
    except BundleError as error:
        return Drift(math.nan, f"unknown {against}: {error.message}")
    names = [feature.name for feature in reference.features]
    counts = count_rows(reference, prepared.table.raw)
    report = drift_report(names, [histogram.counts for histogram in reference.histograms], counts)
    if not report.is_conclusive:
        rows = min(report.num_reference_rows, report.num_new_rows)
        return Drift(math.nan, f"unknown {against}: {rows:,} rows are fewer than {MIN_ROWS:,}", report)
    worst = report.features[0]
    return Drift(report.score, f"{against}, most in {worst.name!r}", report)


def report_json(
    prepared: Prepared, validated: Validated, parity: float, half_parity: HalfParity | None = None
) -> bytes:
    """The bundle's ``report.json``. A metric that is NaN is null."""
    drift = validated.drift.report
    report = {
        "metrics": {name: _number(value) for name, value in validated.metrics.items()},
        "gates": [
            {"gate": str(result.gate), "value": result.value, "verdict": result.verdict.value}
            for result in validated.gates
        ],
        "parity_max_difference": parity,
        "parity_float16": {
            "max_difference": _number(half_parity.max_difference),
            "auc_loss": _number(half_parity.auc_loss),
            "refusal": half_parity.refusal,
        }
        if half_parity
        else None,
        "drift": {
            "score": _number(validated.drift.score),
            "note": validated.drift.note,
            "features": [{"name": one.name, "psi": one.psi, "bins": one.num_bins} for one in drift.features]
            if drift
            else [],
        },
        "data": {
            "uri": prepared.events.uri,
            "rows_read": prepared.events.num_read,
            "rows_quarantined": prepared.events.num_quarantined,
            "quarantine_reasons": prepared.events.reasons,
            "customers_training": len(prepared.train),
            "customers_holdout": len(prepared.holdout),
            "notes": list(prepared.table.notes),
            "columns": prepared.columns,
        },
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2)


def _read_reference(bundle_path: Path, bundle_sha256: str) -> Reference:
    read_bundle(bundle_path, bundle_sha256)
    try:
        return Reference.from_json((bundle_path / REFERENCE).read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise BundleError(f"bundle {bundle_path}: {REFERENCE} cannot be read: {error}") from error


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
