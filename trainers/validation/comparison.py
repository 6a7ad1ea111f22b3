"""Challenger against champion: the difference of two AUCs on the same customers, with its interval. Pure.

The method is DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
Characteristic Curves" (Biometrics 44, 1988), with the mid-ranks of Sun and Xu (IEEE Signal Processing Letters 21,
2014). Both models score the same customers, so what is hard for both cancels out, and small differences can be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating[Any]]

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided, 95 %."""


@dataclass(frozen=True, slots=True)
class AucGain:
    """The challenger's AUC less the champion's, and its 95 % interval. NaN where the rows do not define it."""

    challenger_auc: float
    champion_auc: float
    lower: float
    upper: float

    @property
    def gain(self) -> float:
        return self.challenger_auc - self.champion_auc


UNKNOWN_GAIN = AucGain(math.nan, math.nan, math.nan, math.nan)


def auc_gain(labels_N: Vector, challenger_N: Vector, champion_N: Vector) -> AucGain:
    """Compares two models' scores of the same rows.

    >>> labels = np.array([0, 0, 1, 1])
    >>> auc_gain(labels, np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.1, 0.2, 0.3, 0.4])).upper
    0.0
    """
    is_positive_N = labels_N > 0.5
    num_positive, num_negative = int(is_positive_N.sum()), int((~is_positive_N).sum())
    if not num_positive or not num_negative or not (np.isfinite(challenger_N) & np.isfinite(champion_N)).all():
        return UNKNOWN_GAIN
    challenger, champion = shares(is_positive_N, challenger_N), shares(is_positive_N, champion_N)
    areas = float(challenger[0].mean()), float(champion[0].mean())
    if min(num_positive, num_negative) < 2:
        return AucGain(*areas, math.nan, math.nan)
    variance = sum(float(np.var(new - old, ddof=1)) / new.size for new, old in zip(challenger, champion, strict=True))
    gain, spread = areas[0] - areas[1], Z_95 * math.sqrt(variance)
    return AucGain(*areas, gain - spread, gain + spread)


def shares(is_positive_N: NDArray[np.bool_], scores_N: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each positive, the share of negatives below it; for each negative, the share of positives above it. A tie is
    one half."""
    positive, negative = scores_N[is_positive_N], scores_N[~is_positive_N]
    ranks_N = _mid_ranks(scores_N)
    below = (ranks_N[is_positive_N] - _mid_ranks(positive)) / negative.size
    above = 1.0 - (ranks_N[~is_positive_N] - _mid_ranks(negative)) / positive.size
    return below, above


def _mid_ranks(scores_N: Vector) -> NDArray[np.float64]:
    _, inverse_N, counts_U = np.unique(scores_N, return_inverse=True, return_counts=True)
    mid_ranks_U = np.cumsum(counts_U) - (counts_U - 1) / 2.0
    return np.asarray(mid_ranks_U[inverse_N])
