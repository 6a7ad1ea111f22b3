"""How far new data lies from the data that the previous version was trained on.

Per feature the population stability index over fixed bins, less the value that it takes by chance alone:

    PSI = sum over bins of (q - p) ln(q / p),        p: share in the reference, q: share in the new data
    E[PSI | no drift] = (B - 1)(1/n + 1/m)           B bins, n reference rows, m new rows

The second line follows from nm/(n+m) times PSI being about chi-squared with B - 1 degrees of freedom. Without
it a feature of 51 states over 1,000 rows would show 0.1 of pure noise, and small data would always look shifted.

Bins with fewer than `MIN_BIN_ROWS` reference rows are pooled into one, since the formula holds for well-filled bins;
half a row is added to each bin, so that an empty one gives a large number and not an infinite one.

**The score is the greatest corrected PSI of any feature, not the mean.** What breaks in practice is one column: a unit
changes, a join goes missing. A mean over 19 features would show such a 2.0 as 0.1 and let it pass. The price, noise in
the maximum of many, is small: with 1,000 rows on both sides and 11 bins the corrected PSI has the standard deviation
sqrt(2 x 10) x 0.002 = 0.009, so that even the worst of fifty features stays near 0.03, far below the gate's 0.15.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIN_BIN_ROWS = 5
"""The usual least expected count of a chi-squared cell."""
MIN_ROWS = 1_000
"""With fewer rows on either side chance alone reaches the gate's threshold too easily: no verdict."""


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature's corrected index; below zero means less difference than chance would make."""

    name: str
    psi: float
    num_bins: int


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Drift of all features, greatest first.

    Attributes:
        score: the greatest corrected index, at least 0.
        is_conclusive: whether both sides have enough rows for the score to mean something.
    """

    score: float
    features: tuple[FeatureDrift, ...]
    num_reference_rows: int
    num_new_rows: int

    @property
    def is_conclusive(self) -> bool:
        return min(self.num_reference_rows, self.num_new_rows) >= MIN_ROWS


def null_mean(num_bins: int, num_reference_rows: int, num_new_rows: int) -> float:
    """What PSI is on average when both samples come from one distribution."""
    return (num_bins - 1) * (1 / num_reference_rows + 1 / num_new_rows)


def pool(reference: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of counts by bin, those of thin reference bins summed into one, bins that are empty on both sides left
    out."""
    thick = [(p, q) for p, q in zip(reference, new, strict=True) if p >= MIN_BIN_ROWS]
    thin = [(p, q) for p, q in zip(reference, new, strict=True) if p < MIN_BIN_ROWS]
    rest = (sum(p for p, _ in thin), sum(q for _, q in thin))
    return [*thick, rest] if any(rest) else thick


def corrected_psi(reference: Sequence[int], new: Sequence[int]) -> tuple[float, int]:
    """The index less its null mean, and the number of bins after pooling.

    Raises:
        ValueError: one side has no rows.
    """
    if not sum(reference) or not sum(new):
        raise ValueError("drift needs rows on both sides")
    bins = pool(reference, new)
    n, m = sum(reference), sum(new)
    psi = 0.0
    for p_count, q_count in bins:
        p = (p_count + 0.5) / (n + 0.5 * len(bins))
        q = (q_count + 0.5) / (m + 0.5 * len(bins))
        psi += (q - p) * math.log(q / p)
    return psi - null_mean(len(bins), n, m), len(bins)


def drift_report(names: Sequence[str], reference: Sequence[Sequence[int]], new: Sequence[Sequence[int]]) -> DriftReport:
    """Compares counts by feature and bin of the reference with those of new data in the same bins.

    Raises:
        ValueError: one side has no rows, or the two have different bins.
    """
    found = []
    for name, p_counts, q_counts in zip(names, reference, new, strict=True):
        psi, num_bins = corrected_psi(p_counts, q_counts)
        found.append(FeatureDrift(name, psi, num_bins))
    found.sort(key=lambda drift: -drift.psi)
    score = max(0.0, found[0].psi) if found else 0.0
    return DriftReport(score, tuple(found), sum(reference[0]) if found else 0, sum(new[0]) if found else 0)
