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
        return _folded(ranking_auc(_shares(values_N, labels_N), labels_N))
    missing_N = np.isnan(values_N)
    if not missing_N.any():
        return _folded(ranking_auc(values_N, labels_N))
    # That a value is missing may be what tells the label, so it is ranked below all values, and above them.
    ends = (np.where(missing_N, end, values_N) for end in (-np.inf, np.inf))
    return max(_folded(ranking_auc(scores_N, labels_N)) for scores_N in ends)


def ranking_auc(scores_N: NDArray[np.float64], labels_N: NDArray[np.bool_]) -> float:
    """The probability that a row with the label has the higher score; ties count half."""
    _, places_N, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    ranks_N = (np.cumsum(counts) - (counts - 1) / 2)[places_N]
    positives = int(labels_N.sum())
    negatives = len(labels_N) - positives
    if not positives or not negatives:
        return float("nan")
    return float((ranks_N[labels_N].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _shares(codes_N: NDArray[np.float64], labels_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """For each row, the share of positive labels of its category in the other half of the rows."""
    _, places_N = np.unique(codes_N, return_inverse=True)  # NaN is a category of its own
    half_N = np.arange(len(codes_N)) % 2
    # Alternating within each label: both halves then have about the same share of positives.
    for label in (False, True):
        rows = np.flatnonzero(labels_N == label)
        half_N[rows] = np.arange(len(rows)) % 2
    scores_N = np.full(len(codes_N), labels_N.mean() if len(labels_N) else 0.0)
    for half in (0, 1):
        other, size = half_N != half, int(places_N.max(initial=-1)) + 1
        totals = np.bincount(places_N[other], minlength=size)
        positives = np.bincount(places_N[other], weights=labels_N[other], minlength=size)
        known = totals[places_N] > 0
        rows = (half_N == half) & known
        scores_N[rows] = (positives / np.maximum(totals, 1))[places_N[rows]]
    return scores_N


def _folded(auc: float) -> float:
    return max(auc, 1.0 - auc)
