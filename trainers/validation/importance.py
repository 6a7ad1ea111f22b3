"""Permutation importance: how much AUC is lost when one feature's values are shuffled among the customers.

Breiman, "Random Forests" (Machine Learning 45, 2001), section 10; with AUC instead of accuracy. Features that say the
same share their importance: each alone can be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.training.evaluate import auc
from trainers.validation.thresholds import Vector

REPEATS = 3
MAX_ROWS = 2_000
MAX_CELLS = 30_000_000
"""Bounds the work for wide tables: rows that are scored, times features. That is a few seconds."""
MAX_FEATURES = 200
"""With more features, nothing is measured: the work grows with their square."""


@dataclass(frozen=True, slots=True)
class Importance:
    """The mean loss of AUC over the shuffles, and its standard deviation."""

    feature: str
    auc_loss: float
    deviation: float


def permutation_importance(
    score: Callable[[NDArray[np.float32]], Vector],
    names: Sequence[str],
    x_NF: NDArray[np.float32],
    labels_N: Vector,
    rng: np.random.Generator,
) -> list[Importance]:
    """All features, the most important first; empty with more than `MAX_FEATURES`.

    Args:
        score: gives each row's score.
        names: of the F features.
        x_NF: rows that training did not use.
        labels_N: their labels. With one label only, every importance is NaN.
        rng: decides the shuffles.
    """
    if len(names) > MAX_FEATURES:
        return []
    num_rows = min(len(x_NF), MAX_ROWS, max(100, MAX_CELLS // (REPEATS * max(1, len(names)) ** 2)))
    chosen = rng.permutation(len(x_NF))[:num_rows]
    rows_NF, rows_N = x_NF[chosen].copy(), labels_N[chosen]
    whole = auc(rows_N, score(rows_NF))
    found = []
    for column, name in enumerate(names):
        kept_N = rows_NF[:, column].copy()
        losses = []
        for _ in range(REPEATS):
            rows_NF[:, column] = rng.permutation(kept_N)
            losses.append(whole - auc(rows_N, score(rows_NF)))
        rows_NF[:, column] = kept_N
        found.append(Importance(name, float(np.mean(losses)), float(np.std(losses))))
    return sorted(found, key=lambda each: -each.auc_loss)
