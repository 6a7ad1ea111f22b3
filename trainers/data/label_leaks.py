"""How well one feature alone tells the label. A feature that nearly is the label does not predict: it leaks. Pure.

The measure is the AUC of a single feature, in whichever direction is better; 0.5 is guessing. Categories are ranked by
their share of positive labels. Each half of the rows is ranked by the shares of the other half, so a column with as
many categories as rows tells nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAK_AUC = 0.99
"""Above it, a feature nearly is the label."""


def single_feature_auc(values_N: NDArray[np.float64], labels_N: NDArray[np.bool_], *, is_category: bool) -> float:
    """The AUC of one feature, from 0.5 to 1; NaN where the rows do not have both labels.

    Args:
        values_N: numbers, or the codes of categories; NaN is missing.
        labels_N: what the feature is compared with.
        is_category: whether the values are codes, which have no order.

    >>> single_feature_auc(np.array([1.0, 2.0, 8.0, 9.0]), np.array([False, False, True, True]), is_category=False)
    1.0
    """
    values_N, labels_N = np.asarray(values_N, dtype=np.float64), np.asarray(labels_N, dtype=bool)
    if is_category:
        _, codes_N = np.unique(values_N, return_inverse=True)  # NaN is a category of its own
        return category_auc(codes_N, labels_N)
    missing_N = np.isnan(values_N)
    if not missing_N.any():
        return _folded(ranking_auc(values_N, labels_N))
    positives, negatives = values_N[labels_N & ~missing_N], values_N[~labels_N & ~missing_N]
    wins = _wins(positives, negatives)
    # That a value is missing may be what tells the label, so it is ranked below all values, and above them.
    num_positive, num_negative = int(labels_N.sum()), int((~labels_N).sum())
    lost, lost_negative = num_positive - len(positives), num_negative - len(negatives)
    ties, pairs = lost * lost_negative / 2, num_positive * num_negative
    if not pairs:
        return float("nan")
    below, above = len(positives) * lost_negative, lost * len(negatives)
    return max(_folded((wins + ties + more) / pairs) for more in (below, above))


def ranking_auc(scores_N: NDArray[np.float64], labels_N: NDArray[np.bool_]) -> float:
    """The probability that a row with the label has the higher score; ties count half."""
    positives, negatives = scores_N[labels_N], scores_N[~labels_N]
    if not len(positives) or not len(negatives):
        return float("nan")
    return _wins(positives, negatives) / (len(positives) * len(negatives))


def category_auc(codes_N: NDArray[np.integer], labels_N: NDArray[np.bool_]) -> float:
    """The AUC of categories, by their codes from 0 on: each half of the rows is ranked by the shares of the other."""
    half_N = np.zeros(len(codes_N), dtype=np.int64)
    # Alternating within each label: both halves then have about the same share of positives.
    for label in (False, True):
        rows = np.flatnonzero(labels_N == label)
        half_N[rows] = np.arange(len(rows)) % 2
    size = int(codes_N.max(initial=-1)) + 1
    cells_N = half_N * size + codes_N
    positives_HC = np.bincount(cells_N[labels_N], minlength=2 * size).reshape(2, size)
    totals_HC = np.bincount(cells_N, minlength=2 * size).reshape(2, size)
    num_positive, num_rows = int(positives_HC.sum()), len(codes_N)
    if num_positive in {0, num_rows}:
        return float("nan")
    others_HC, known_HC = totals_HC[::-1], totals_HC[::-1] > 0
    shares_HC = np.where(known_HC, positives_HC[::-1] / np.maximum(others_HC, 1), num_positive / num_rows)
    # All rows of a cell have one score, so cells are ranked, not rows.
    _, places = np.unique(shares_HC, return_inverse=True)
    of_positives = np.bincount(places.ravel(), weights=positives_HC.ravel())
    of_negatives = np.bincount(places.ravel(), weights=(totals_HC - positives_HC).ravel())
    wins = float((of_positives * (np.cumsum(of_negatives) - of_negatives / 2)).sum())
    return _folded(wins / (num_positive * (num_rows - num_positive)))


def _wins(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """The pairs of which the positive one has the greater value; ties count half."""
    negatives, positives = np.sort(negatives), np.sort(positives)
    below = np.searchsorted(negatives, positives, "left").sum() + np.searchsorted(negatives, positives, "right").sum()
    return float(below) / 2


def _folded(auc: float) -> float:
    return max(auc, 1.0 - auc)
