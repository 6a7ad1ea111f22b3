"""Better than guessing: the gate that every model must pass, whatever the pipeline file says of other metrics. Pure.

The lower confidence bound of the AUC must lie above 0.5 (`trainers.training.evaluate.auc_lower_bound`). A model that
guesses passes in one of twenty runs. A good model of few customers may fail; the message then says how many it needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainers.training.evaluate import CONFIDENCE, CONFIDENCE_Z


def rows_needed(auc: float, positive_rate: float) -> int | None:
    """How many hold-out customers such an AUC needs to be better than guessing; None if no number is enough.

    From Mann and Whitney's variance of a guessing model's AUC, (m + n + 1) / (12 m n) with m positives of m + n.

    >>> rows_needed(0.6, 0.5), rows_needed(0.49, 0.5)
    (92, None)
    """
    spread = positive_rate * (1.0 - positive_rate)
    if not auc > 0.5 or not spread > 0.0:
        return None
    k = CONFIDENCE_Z**2 / (12.0 * spread * (auc - 0.5) ** 2)
    # N with N > k (N + 1) / N
    return math.floor((k + math.sqrt(k * k + 4.0 * k)) / 2.0) + 1


def guessing_text(metrics: Mapping[str, float], holdout_fraction: float) -> str:
    """Why a model is refused for guessing, with the figures and the remedies."""
    names = ("auc", "auc_lower_bound", "positive_rate", "holdout_rows")
    auc, bound, rate, rows = (metrics.get(name, math.nan) for name in names)
    text = (
        f"not better than guessing: auc is {auc:.4g} on {rows:,.0f} hold-out customers, {rate * rows:,.0f} of them"
        f" positive; its {CONFIDENCE:.0%} lower bound is {bound:.4g} and must be above 0.5"
    )
    needed = rows_needed(auc, rate)
    if needed is not None and needed > rows:
        total = math.ceil(needed / holdout_fraction)
        text += (
            f". For such an auc, {needed:,} hold-out customers are needed: about {total:,} in all, or a larger"
            " features.holdout_fraction"
        )
    return text + ". `better_than_guessing: false` under stages.validation turns this gate off"
