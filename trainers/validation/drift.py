"""How far new data lies from the data that the previous version was trained on.

Per feature the corrected population stability index of `divisions.stability`.

**The score is the greatest corrected PSI of any feature, not the mean.** What breaks in practice is one column: a unit
changes, a join goes missing. A mean over 19 features would show such a 2.0 as 0.1 and let it pass. The price, noise in
the maximum of many, is small: with 1,000 rows on both sides and 11 bins the corrected PSI has the standard deviation
sqrt(2 x 10) x 0.002 = 0.009, so that even the worst of fifty features stays near 0.03, far below the gate's 0.15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from divisions.stability import corrected_psi

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
