"""The validation report of a run: all that was measured on the hold-out, as JSON and as one HTML page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from trainers.data.preparation import Prepared
from trainers.data.reference import Reference, count
from trainers.export.exported import Calibrated
from trainers.validation.curves import (
    TABLE_THRESHOLDS,
    CalibrationBin,
    Point,
    ThresholdRow,
    calibration_bins,
    precision_recall_points,
    roc_points,
    threshold_table,
)
from trainers.validation.drift import drift_report
from trainers.validation.importance import Importance, permutation_importance
from trainers.validation.slices import Slice, slices
from trainers.validation.thresholds import Vector, sweep, why_no_sweep
from trainers.validation.validation import Validated


@dataclass(frozen=True, slots=True)
class GateRow:
    gate: str
    value: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A feature's stability: hold-out against training, and all customers against the version in use (NaN without
    one)."""

    feature: str
    psi_holdout: float
    psi_champion: float


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What was measured. ``notes`` say what could not be."""

    title: str
    verdict: str
    rule: str
    threshold: float
    metrics: dict[str, float]
    gates: list[GateRow]
    champion: str
    drift: str
    roc: list[Point]
    precision_recall: list[Point]
    calibration: str
    calibration_before: list[CalibrationBin]
    calibration_after: list[CalibrationBin]
    thresholds: list[ThresholdRow]
    features: list[FeatureRow]
    importance: list[Importance]
    slices: list[Slice]
    notes: list[str]

    def to_json(self) -> str:
        """JSON; a number that is not known is null."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()


def validation_report(
    title: str,
    prepared: Prepared,
    reference: Reference,
    validated: Validated,
    calibrated: Calibrated,
    scores_N: Vector,
    score: Callable[[NDArray[np.float32]], Vector],
    seed: int,
) -> ValidationReport:
    """Measures what the gates did not need.

    Args:
        title: names pipeline and run.
        prepared: the run's data.
        reference: the bins of the training data.
        validated: what the gates found.
        calibrated: the hold-out's probabilities before calibration.
        scores_N: those of the exported graph.
        score: the exported graph.
        seed: decides the shuffles of the importance.
    """
    holdout = prepared.holdout
    x_NF, labels_N, names = holdout.x, holdout.y, holdout.schema.names
    threshold = validated.decided.chosen.threshold
    why = why_no_sweep(labels_N, scores_N)
    found = sweep(labels_N, scores_N) if not why else None
    is_finite = bool(np.isfinite(scores_N).all())
    importance = permutation_importance(score, names, x_NF, labels_N, np.random.default_rng(seed))
    notes = [*validated.decided.notes, *validated.warnings]
    if why:
        notes.append(f"no curves: of the hold-out, {why}")
    if not importance:
        notes.append(f"no importance of features: there are {len(names):,}, too many")
    return ValidationReport(
        title=title,
        verdict=f"refused: {validated.refusals}" if validated.refusals else "passed",
        rule=validated.decided.rule,
        threshold=threshold,
        metrics=validated.metrics,
        gates=[GateRow(str(each.gate), each.value, each.verdict.value) for each in validated.gates],
        champion=validated.champion.note if np.isnan(validated.champion.gain.gain) else str(validated.champion),
        drift=validated.drift.note,
        roc=roc_points(found) if found else [],
        precision_recall=precision_recall_points(found) if found else [],
        calibration=str(validated.calibration),
        calibration_before=calibration_bins(labels_N, calibrated.before_N) if is_finite else [],
        calibration_after=calibration_bins(labels_N, scores_N) if is_finite else [],
        thresholds=threshold_table(labels_N, scores_N, (*TABLE_THRESHOLDS, threshold)),
        features=_stability(reference, x_NF, validated),
        importance=importance,
        slices=slices(holdout.schema, x_NF, labels_N, scores_N, threshold),
        notes=notes,
    )


def _stability(reference: Reference, x_NF: NDArray[np.float32], validated: Validated) -> list[FeatureRow]:
    names = [feature.name for feature in reference.features]
    counts = [count(one.feature, one.edges, x_N) for one, x_N in zip(reference.histograms, x_NF.T, strict=True)]
    here = drift_report(names, [one.counts for one in reference.histograms], counts)
    earlier = validated.drift.report
    by_name = {one.name: one.psi for one in earlier.features} if earlier else {}
    return [FeatureRow(one.name, one.psi, by_name.get(one.name, float("nan"))) for one in here.features]
