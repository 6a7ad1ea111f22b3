"""Calibration of a trained model's probabilities by Platt's method. Pure.

`sigmoid(slope * logit + offset)` is fitted on the validation rows, which training did not learn from. Slope and offset
go into the weights of the last layer (`trainers.training.model.TabularModel.recalibrate`). So the exported graph has
no node more, and every engine gives the same probabilities at no cost. The slope is above 0, so the order of
customers, and with it the AUC, stays.

Training stops at the epoch with the best log loss on these rows, so most models are calibrated already, and a fit to
few rows would make them worse. So the fit is used only if it is better by more than chance.

Why Platt's method, and not temperature or isotonic regression, is in docs/training.md with the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating[Any]]

MIN_ROWS_PER_LABEL = 10
"""With fewer validation rows of either label, two parameters cannot be fitted. Ten events for each parameter is the
usual rule (Peduzzi et al. 1996); Platt's priors halve it."""
CHANCE = 5.991
"""The 95 % quantile of chi-squared with two degrees of freedom. Of a calibrated model, twice the gain in log-likelihood
by two fitted parameters is so distributed (Wilks 1938)."""
_MAX_STEPS = 100
_MIN_DECREASE = 1e-10


@dataclass(frozen=True, slots=True)
class Calibration:
    """``note`` says why the probabilities stay as they are; empty if they are calibrated."""

    slope: float = 1.0
    offset: float = 0.0
    note: str = ""

    def __str__(self) -> str:
        return self.note or f"logit to {self.slope:.3g} x logit {self.offset:+.3g}"


def fit_calibration(logits_N: Vector, labels_N: Vector) -> Calibration:
    """The slope and offset with the lowest log loss on these rows.

    Platt's targets, (p + 1)/(p + 2) and 1/(q + 2) for p positives and q negatives instead of 1 and 0, keep the fit
    finite and guard against few rows (Platt 1999). The fit is Newton's method with backtracking, after Lin, Lin and
    Weng, "A Note on Platt's Probabilistic Outputs for Support Vector Machines" (Machine Learning 68, 2007).

    >>> fit_calibration(np.array([1.0, 2.0]), np.array([1.0, 1.0])).note
    'not calibrated: 2 validation rows are positive and 0 negative, at least 10 of each are needed'
    """
    num_positive = int((labels_N > 0.5).sum())
    num_negative = labels_N.size - num_positive
    if min(num_positive, num_negative) < MIN_ROWS_PER_LABEL:
        return Calibration(
            note=f"not calibrated: {num_positive:,} validation rows are positive and {num_negative:,} negative,"
            f" at least {MIN_ROWS_PER_LABEL} of each are needed"
        )
    if not np.isfinite(logits_N).all():
        return Calibration(note="not calibrated: the model gives no number for some validation rows")
    if np.ptp(logits_N) == 0.0:
        return Calibration(note="not calibrated: the model gives all validation rows the same probability")
    high, low = (num_positive + 1.0) / (num_positive + 2.0), 1.0 / (num_negative + 2.0)
    targets_N = np.where(labels_N > 0.5, high, low)
    slope, offset = _newton(logits_N.astype(np.float64), targets_N)
    if not slope > 0.0:
        return Calibration(note="not calibrated: on the validation rows, higher scores are not more often positive")
    gain = 2.0 * (_log_loss(logits_N, labels_N) - _log_loss(slope * logits_N + offset, labels_N))
    if not gain > CHANCE:
        return Calibration(note="calibrated as trained: a correction would gain no more than chance on validation rows")
    return Calibration(slope, offset)


def sigmoid(logits_N: Vector) -> NDArray[np.float64]:
    """1 / (1 + e^-x), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits_N.astype(np.float64))))


def _log_loss(logits_N: Vector, labels_N: Vector) -> float:
    return float((np.logaddexp(0.0, logits_N) - labels_N * logits_N).sum(dtype=np.float64))


def _newton(logits_N: NDArray[np.float64], targets_N: NDArray[np.float64]) -> tuple[float, float]:
    # Centred and scaled, so that the two parameters hardly depend on each other whatever the logits' size.
    centre, scale = float(logits_N.mean()), float(logits_N.std())
    x_N = (logits_N - centre) / scale
    point, loss = np.zeros(2), _log_loss(0.0 * x_N, targets_N)
    for _ in range(_MAX_STEPS):
        scores_N = sigmoid(_line(point, x_N))
        errors_N, weights_N = scores_N - targets_N, scores_N * (1.0 - scores_N)
        gradient = np.array([(errors_N * x_N).sum(), errors_N.sum()])
        mixed = (weights_N * x_N).sum()
        curvature = np.array([[(weights_N * x_N * x_N).sum(), mixed], [mixed, weights_N.sum()]])
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        while (new := _log_loss(_line(point - step, x_N), targets_N)) > loss:
            step /= 2.0
            if np.abs(step).max() < 1e-12:
                return _unscaled(point, centre, scale)
        point, decrease, loss = point - step, loss - new, new
        if decrease <= _MIN_DECREASE * max(1.0, loss):
            break
    return _unscaled(point, centre, scale)


def _line(point: NDArray[np.float64], x_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(point[0] * x_N + point[1])


def _unscaled(point: NDArray[np.float64], centre: float, scale: float) -> tuple[float, float]:
    slope = float(point[0]) / scale
    return slope, float(point[1]) - slope * centre
