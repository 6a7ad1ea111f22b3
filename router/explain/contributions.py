"""How much each feature has moved a score: occlusion from both ends. Pure.

The customer is compared with a reference, a typical customer of the training data. Let v(S) be the model's answer, in
log-odds, for a row that has the customer's values in the features S and the reference's in all others. N are the
features in which the two differ. Of each feature two effects are measured::

    alone   a_i = v({i}) - v({})        it is the only one that has the customer's value
    last    l_i = v(N) - v(N without i) it is the only one that is given back

Without interactions both are equal. Else the contribution lies between them::

    middle  m_i = (a_i + l_i) / 2       spread  s_i = |l_i - a_i|
    c_i = m_i + s_i * t                 with one t in [-1/2, 1/2] for all features

t is chosen so that the contributions add up to v(N) - v({}), as far as its range allows. What is left is reported as
``joint``: what features move only together, so that no feature shows it alone or last ("any two of three").

What follows from it:

- Reference, contributions and ``joint`` add up to the score.
- A feature that changes nothing contributes 0. Features that act alike contribute alike.
- If the model is linear in log-odds, a contribution is the coefficient times the difference, and ``joint`` is 0.
- With interactions of pairs, or with one interaction of any number of features beside effects of single ones, the
  contributions are Shapley's values, which need 2^N rows in general.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOG_ODDS = "log_odds"
SCORE = "score"
NEAREST = 1e-6
"""Probabilities nearer to 0 or 1 count as this near: float32 knows no better."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """``reference`` plus ``contributions`` plus ``joint`` is ``score``; all are on the same ``scale``."""

    scale: str
    reference: float
    score: float
    contributions: tuple[float, ...]
    joint: float


def num_rows(num_features: int) -> int:
    """Rows that the model must answer if the customer differs from the reference in so many features.

    >>> num_rows(0), num_rows(3)
    (1, 8)
    """
    return 2 * num_features + 2 if num_features else 1


def attribute(scores: Sequence[float]) -> Attribution:
    """Computes the contributions of F features.

    Args:
        scores: the model's answers for the customer, the reference, the F rows with one feature of the customer, and
            the F rows with all but one; for F = 0, the customer's alone.
    """
    scale = LOG_ODDS if all(0.0 <= score <= 1.0 for score in scores) else SCORE
    values = [log_odds(score) for score in scores] if scale == LOG_ODDS else list(scores)
    whole, nothing = values[0], values[1] if len(values) > 1 else values[0]
    num_features = len(values) // 2 - 1 if len(values) > 1 else 0
    alone = [value - nothing for value in values[2 : 2 + num_features]]
    last = [whole - value for value in values[2 + num_features :]]
    spreads = [abs(each_last - each_alone) for each_alone, each_last in zip(alone, last, strict=True)]
    middles = [(each_alone + each_last) / 2 for each_alone, each_last in zip(alone, last, strict=True)]
    room = math.fsum(spreads) / 2
    left = whole - nothing - math.fsum(middles)
    share = max(-room, min(room, left)) / (2 * room) if room > 0.0 else 0.0
    contributions = tuple(middle + spread * share for middle, spread in zip(middles, spreads, strict=True))
    return Attribution(scale, nothing, whole, contributions, whole - nothing - math.fsum(contributions))


def log_odds(probability: float) -> float:
    """The logarithm of p / (1 - p).

    >>> log_odds(0.5)
    0.0
    >>> round(log_odds(0.0), 2), round(log_odds(1.0), 2)
    (-13.82, 13.82)
    """
    bounded = min(max(probability, NEAREST), 1.0 - NEAREST)
    return math.log(bounded / (1.0 - bounded))
