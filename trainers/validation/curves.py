"""The curves of a validation report: ROC, precision and recall, calibration, and a table of thresholds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainers.training.evaluate import CALIBRATION_BINS
from trainers.validation.thresholds import Numbers, Sweep, Vector

MAX_POINTS = 200
TABLE_THRESHOLDS = tuple(number / 20 for number in range(1, 20))

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Customers of similar probability: how many, their mean probability, and the share that is positive."""

    num_rows: int
    mean_score: float
    positive_share: float


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """What a threshold does. ``precision`` is NaN if nobody is flagged."""

    threshold: float
    flagged: int
    hits: int
    precision: float
    recall: float
    f1: float


def roc_points(found: Sweep) -> list[Point]:
    """False positive rate and recall, from (0, 0) to (1, 1)."""
    return [(0.0, 0.0), *_thinned(found.false_positive_rate_T, found.recall_T)]


def precision_recall_points(found: Sweep) -> list[Point]:
    """Recall and precision, of the thresholds that flag somebody."""
    is_some_T = found.flagged_T > 0
    return _thinned(found.recall_T[is_some_T], found.precision_T[is_some_T])


def calibration_bins(labels_N: Vector, scores_N: Vector, num_bins: int = CALIBRATION_BINS) -> list[CalibrationBin]:
    """The bins that hold customers, of equal width."""
    bin_N = np.minimum((scores_N * num_bins).astype(np.int64), num_bins - 1)
    counts = np.bincount(bin_N, minlength=num_bins)
    scores = np.bincount(bin_N, weights=scores_N, minlength=num_bins)
    labels = np.bincount(bin_N, weights=labels_N, minlength=num_bins)
    return [
        CalibrationBin(int(count), float(score / count), float(label / count))
        for count, score, label in zip(counts, scores, labels, strict=True)
        if count
    ]


def threshold_table(labels_N: Vector, scores_N: Vector, thresholds: Sequence[float]) -> list[ThresholdRow]:
    """One row for each threshold, in order."""
    is_positive_N = labels_N > 0.5
    num_positive = int(is_positive_N.sum())
    rows = []
    for threshold in sorted(thresholds):
        is_flagged_N = scores_N >= threshold
        flagged, hits = int(is_flagged_N.sum()), int((is_flagged_N & is_positive_N).sum())
        precision = hits / flagged if flagged else float("nan")
        recall = hits / num_positive if num_positive else float("nan")
        f1 = 2 * hits / (flagged + num_positive) if flagged + num_positive else float("nan")
        rows.append(ThresholdRow(threshold, flagged, hits, precision, recall, f1))
    return rows


def _thinned(x_T: Numbers, y_T: Numbers) -> list[Point]:
    picked = np.unique(np.linspace(0, len(x_T) - 1, min(len(x_T), MAX_POINTS)).round().astype(np.int64))
    return [(float(x_T[index]), float(y_T[index])) for index in picked]
