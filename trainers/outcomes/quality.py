"""How well scores told outcomes apart, with intervals. Pure.

The AUC's variance is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988). Its intervals are taken on the
logit, so they stay within 0 and 1. The calibration error is that of `trainers.training.evaluate`; its interval comes
from 1,000 draws of the bins' sums, each normal with the variance of its rows.
"""

from __future__ import annotations

import math

import numpy as np

from divisions.outcomes import Quality
from trainers.training.evaluate import CALIBRATION_BINS, Vector, calibration_error
from trainers.validation.comparison import Z_95, shares

Z_ALERT = 3.090232306167813
"""The 99.9 % quantile of the normal distribution: one-sided. An alert is looked for whenever outcomes are added."""
MIN_EACH = 10
"""Outcomes of each kind, below which nothing is told."""
_DRAWS = 1_000


def quality(version: str, period: str, labels_N: Vector, scores_N: Vector) -> Quality:
    """What the outcomes of some predictions say.

    >>> quality("3.1", "", np.array([0.0, 1.0]), np.array([0.2, 0.8])).auc is None
    True
    """
    is_positive_N = labels_N > 0.5
    num_positive, num_rows = int(is_positive_N.sum()), int(labels_N.size)
    told = Quality(version, period, num_rows, num_positive)
    if min(num_positive, num_rows - num_positive) < MIN_EACH or not np.isfinite(scores_N).all():
        return told
    below, above = shares(is_positive_N, scores_N)
    area = float(below.mean())
    deviation = math.sqrt(float(np.var(below, ddof=1)) / below.size + float(np.var(above, ddof=1)) / above.size)
    error = calibration_error(labels_N, scores_N)
    low, high = _calibration_interval(labels_N, scores_N)
    return Quality(
        version,
        period,
        num_rows,
        num_positive,
        area,
        bound(area, deviation, -Z_95, num_rows),
        bound(area, deviation, Z_95, num_rows),
        bound(area, deviation, Z_ALERT, num_rows),
        error,
        low,
        high,
    )


def bound(area: float, deviation: float, z: float, num_rows: int) -> float:
    """The AUC ``z`` deviations away, on the logit. One that is 0 or 1 counts as half a pair away from it."""
    inside = min(max(area, 0.5 / num_rows), 1.0 - 0.5 / num_rows)
    slope = inside * (1.0 - inside)
    logit = math.log(inside / (1.0 - inside)) + z * max(deviation, 1e-12) / slope
    return 1.0 / (1.0 + math.exp(-min(max(logit, -700.0), 700.0)))


def _calibration_interval(labels_N: Vector, scores_N: Vector) -> tuple[float, float]:
    bin_N = np.minimum((scores_N * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gap_N = labels_N - scores_N
    sums_B = np.bincount(bin_N, weights=gap_N, minlength=CALIBRATION_BINS)
    counts_B = np.maximum(1, np.bincount(bin_N, minlength=CALIBRATION_BINS))
    squares_B = np.bincount(bin_N, weights=gap_N**2, minlength=CALIBRATION_BINS)
    deviations_B = np.sqrt(np.maximum(0.0, squares_B - sums_B**2 / counts_B))
    draws_DB = np.random.default_rng(0).normal(sums_B, deviations_B, (_DRAWS, CALIBRATION_BINS))
    errors_D = np.abs(draws_DB).sum(axis=1) / labels_N.size
    low, high = np.quantile(errors_D, [0.025, 0.975])
    return float(low), float(high)
