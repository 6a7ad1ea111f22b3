"""Metrics of a model on rows that training did not use. Plain NumPy; each docstring defines its metric.

Shapes: ``labels_N`` holds 0 and 1, ``scores_N`` probabilities. A metric that the data does not define (AUC with one
class only, precision without a predicted positive) is NaN. Gates treat NaN as *unknown* and refuse.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating[Any]]

DECISION_THRESHOLD = 0.5
CALIBRATION_BINS = 10


def evaluate(labels_N: Vector, scores_N: Vector) -> dict[str, float]:
    """All hold-out metrics by the names that gates use."""
    return {
        "auc": auc(labels_N, scores_N),
        **threshold_metrics(labels_N, scores_N),
        "log_loss": log_loss(labels_N, scores_N),
        "calibration_error": calibration_error(labels_N, scores_N),
        "positive_rate": float(np.mean(labels_N)) if labels_N.size else math.nan,
        "holdout_rows": float(labels_N.size),
    }


def auc(labels_N: Vector, scores_N: Vector) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties counting one half.

    By ranks (Mann and Whitney 1947): (R - p(p + 1)/2) / (p q), R the sum of the positives' mid-ranks. NaN with one
    class only, or when a score is NaN.
    """
    is_positive_N = labels_N > 0.5
    num_positive = int(is_positive_N.sum())
    num_negative = labels_N.size - num_positive
    if num_positive == 0 or num_negative == 0 or not np.isfinite(scores_N).all():
        return math.nan
    _, inverse_N, counts_U = np.unique(scores_N, return_inverse=True, return_counts=True)
    mid_ranks_U = np.cumsum(counts_U) - (counts_U - 1) / 2.0
    rank_sum = float(mid_ranks_U[inverse_N][is_positive_N].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2.0) / (num_positive * num_negative)


def threshold_metrics(labels_N: Vector, scores_N: Vector, threshold: float = DECISION_THRESHOLD) -> dict[str, float]:
    """Precision, recall, F1 and accuracy when ``score >= threshold`` predicts a positive."""
    if labels_N.size == 0 or not np.isfinite(scores_N).all():
        return dict.fromkeys(("precision", "recall", "f1", "accuracy"), math.nan)
    is_positive_N = labels_N > 0.5
    is_predicted_N = scores_N >= threshold
    hits = int((is_positive_N & is_predicted_N).sum())
    num_predicted, num_positive = int(is_predicted_N.sum()), int(is_positive_N.sum())
    return {
        "precision": hits / num_predicted if num_predicted else math.nan,
        "recall": hits / num_positive if num_positive else math.nan,
        "f1": 2 * hits / (num_predicted + num_positive) if num_predicted + num_positive else math.nan,
        "accuracy": float(np.mean(is_positive_N == is_predicted_N)),
    }


def log_loss(labels_N: Vector, scores_N: Vector) -> float:
    """Mean of -ln(probability of the true label). Probabilities are clipped to [1e-7, 1 - 1e-7]."""
    if labels_N.size == 0:
        return math.nan
    scores_N = np.clip(scores_N.astype(np.float64), 1e-7, 1.0 - 1e-7)
    return float(-np.mean(np.where(labels_N > 0.5, np.log(scores_N), np.log1p(-scores_N))))


def calibration_error(labels_N: Vector, scores_N: Vector, num_bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3): sum over equal-width bins of
    |bin| / N times |mean label - mean score|."""
    if labels_N.size == 0 or not np.isfinite(scores_N).all():
        return math.nan
    bin_N = np.minimum((scores_N * num_bins).astype(np.int64), num_bins - 1)
    label_sums = np.bincount(bin_N, weights=labels_N, minlength=num_bins)
    score_sums = np.bincount(bin_N, weights=scores_N, minlength=num_bins)
    return float(np.abs(label_sums - score_sums).sum() / labels_N.size)
