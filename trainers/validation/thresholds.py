"""From probabilities to yes and no: every threshold that divides the rows, and the one that a rule chooses. Pure.

A row is flagged if its score is at least the threshold. Thresholds lie in the middle between two neighbouring scores.
So a difference in the last digit, as between two engines, changes no answer on the rows that it was chosen by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divisions.pipeline.definition import AtLeast, Cost, DecisionRule, FixedThreshold, MaxF1

Vector = NDArray[np.floating[Any]]
Numbers = NDArray[np.float64]

FALLBACK = 0.5
"""The threshold where the validation rows cannot tell a better one."""
MIN_FLAGGED = 10
"""A precision of fewer flagged rows is chance: the one highest score is often a positive, which gives precision 1."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """All divisions of the rows, from nobody flagged to everybody.

    **Shape**: ``threshold_T``, how many rows are ``flagged_T``, and how many ``hits_T`` of them are positive.
    """

    threshold_T: Numbers
    flagged_T: Numbers
    hits_T: Numbers
    num_positive: int
    num_rows: int

    @property
    def precision_T(self) -> Numbers:
        """NaN where nobody is flagged."""
        nobody_T = np.full(self.flagged_T.shape, np.nan)
        return np.asarray(np.divide(self.hits_T, self.flagged_T, out=nobody_T, where=self.flagged_T > 0))

    @property
    def recall_T(self) -> Numbers:
        return self.hits_T / self.num_positive

    @property
    def f1_T(self) -> Numbers:
        return 2.0 * self.hits_T / (self.flagged_T + self.num_positive)

    @property
    def false_positive_rate_T(self) -> Numbers:
        return (self.flagged_T - self.hits_T) / (self.num_rows - self.num_positive)


@dataclass(frozen=True, slots=True)
class Chosen:
    """``note`` says what the rule could not do; empty if it did."""

    threshold: float
    note: str = ""


def sweep(labels_N: Vector, scores_N: Vector) -> Sweep:
    """The divisions of rows that have both labels and finite scores from 0 to 1.

    >>> found = sweep(np.array([0, 1, 1]), np.array([0.2, 0.4, 0.8]))
    >>> found.threshold_T.round(2).tolist(), found.hits_T.tolist()
    ([0.9, 0.6, 0.3, 0.1], [0.0, 1.0, 2.0, 2.0])
    """
    scores_N = scores_N.astype(np.float64)
    different_U, group_N, counts_U = np.unique(scores_N, return_inverse=True, return_counts=True)
    positives_U = np.bincount(group_N, weights=labels_N > 0.5)
    from_the_top = different_U[::-1]
    ends = np.concatenate([[1.0], from_the_top, [0.0]])
    threshold_T = (ends[:-1] + ends[1:]) / 2.0
    flagged_T = np.concatenate([[0.0], np.cumsum(counts_U[::-1])])
    hits_T = np.concatenate([[0.0], np.cumsum(positives_U[::-1])])
    if from_the_top[0] >= 1.0:  # no threshold leaves out a score of 1
        threshold_T, flagged_T, hits_T = threshold_T[1:], flagged_T[1:], hits_T[1:]
    return Sweep(threshold_T, flagged_T, hits_T, int(positives_U.sum()), labels_N.size)


def why_no_sweep(labels_N: Vector, scores_N: Vector) -> str:
    """Why no threshold divides the rows sensibly; empty if some do."""
    num_positive = int((labels_N > 0.5).sum())
    if num_positive in {0, labels_N.size}:
        return f"{num_positive:,} of {labels_N.size:,} rows are positive, and both labels are needed"
    if not np.isfinite(scores_N).all():
        return "the model gives no number for some rows"
    if np.ptp(scores_N) == 0.0:
        return "the model gives all rows the same probability"
    return ""


def choose_threshold(rule: DecisionRule, labels_N: Vector, scores_N: Vector) -> Chosen:
    """The threshold that ``rule`` chooses on these rows, which must be validation rows. Of equals, the highest."""
    if isinstance(rule, FixedThreshold):
        return Chosen(rule.threshold)
    why = why_no_sweep(labels_N, scores_N)
    if why:
        return Chosen(FALLBACK, f"the decision threshold is {FALLBACK:g}, not {rule}: of the validation rows, {why}")
    found = sweep(labels_N, scores_N)
    match rule:
        case MaxF1():
            return Chosen(_best(found, found.f1_T))
        case Cost(fp=fp, fn=fn):
            cost_T = fp * (found.flagged_T - found.hits_T) + fn * (found.num_positive - found.hits_T)
            return Chosen(_best(found, -cost_T))
        case AtLeast(metric="recall", value=value):
            return Chosen(_best(found, np.where(found.recall_T >= value, found.precision_T, -1.0)))
        case AtLeast():
            return _precise(rule, found)


def _precise(rule: AtLeast, found: Sweep) -> Chosen:
    """The highest recall at that precision. If it is out of reach, the highest precision, with a note."""
    is_many_T = found.flagged_T >= min(MIN_FLAGGED, found.num_rows)
    precision_T = np.where(is_many_T, found.precision_T, -1.0)
    if (precision_T >= rule.value).any():
        return Chosen(_best(found, np.where(precision_T >= rule.value, found.hits_T, -1.0)))
    best = int(np.argmax(precision_T))
    return Chosen(
        float(found.threshold_T[best]),
        f"{rule} is out of reach on {found.num_rows:,} validation rows, {found.num_positive:,} of them positive: the"
        f" highest precision is {precision_T[best]:.3g}, at recall {found.recall_T[best]:.3g}; its threshold is used",
    )


def _best(found: Sweep, merit_T: Numbers) -> float:
    return float(found.threshold_T[int(np.nanargmax(merit_T))])
