"""Metrics of a model on rows that training did not use. Plain NumPy; each docstring defines its metric.

Shapes: ``labels_N`` holds 0 and 1, ``scores_N`` probabilities. A metric that the data does not define (AUC with one
class only, precision without a predicted positive) is NaN. Gates treat NaN as *unknown*.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating[Any]]

DECISION_THRESHOLD = 0.5
CONFIDENCE = 0.95
CONFIDENCE_Z = 1.6448536269514722
"""The 95 % quantile of the normal distribution: one-sided."""
CALIBRATION_BINS = 10


def evaluate(labels_N: Vector, scores_N: Vector, threshold: float = DECISION_THRESHOLD) -> dict[str, float]:
    """All hold-out metrics by the names that gates use."""
    num_positive = int((labels_N > 0.5).sum())
    return {
        "auc": (area := auc(labels_N, scores_N)),
        "auc_lower_bound": auc_lower_bound(area, num_positive, labels_N.size - num_positive),
        **threshold_metrics(labels_N, scores_N, threshold),
        "decision_threshold": threshold,
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


def auc_lower_bound(area: float, num_positive: int, num_negative: int) -> float:
    """The AUC's lower confidence bound: 95 %, one-sided. NaN if the AUC is NaN.

    The smallest t with ``area - t <= z sqrt(V(t))``, where V is the variance of Hanley and McNeil (Radiology 143, 1982)
    with N* in place of both sample sizes less one, and taken at t instead of at the estimate: method 5 of Newcombe
    (Statistics in Medicine 25, 2006, 559-573):

        V(t) = t (1 - t) (1 + N* (1 - t)/(2 - t) + N* t/(1 + t)) / (m n),    N* = (m + n)/2 - 1

    So the bound is honest for small samples, and below 1 for an AUC of 1. It lies above 0.5 just where the test of Mann
    and Whitney rejects guessing: V(0.5) is their (m + n + 1) / (12 m n).
    """
    if math.isnan(area):
        return math.nan
    half = (num_positive + num_negative) / 2.0 - 1.0

    def is_plausible(t: float) -> bool:
        spread = 1.0 + half * (1.0 - t) / (2.0 - t) + half * t / (1.0 + t)
        return area - t <= CONFIDENCE_Z * math.sqrt(t * (1.0 - t) * spread / (num_positive * num_negative))

    low, high = 0.0, area  # the bound lies between them: `high` is always plausible
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if is_plausible(middle) else (middle, high)
    return high


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
