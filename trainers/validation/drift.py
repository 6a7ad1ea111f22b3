"""The drift of new data from the data that the previous version was trained on.

Each feature has a corrected population stability index (`divisions.stability`).

**The score is the greatest corrected PSI of any feature, not the mean.** In practice one column breaks: its unit
changes, or a join is missing. A mean over 19 features would turn its 2.0 into 0.1, and the gate would pass. The maximum
has more noise, but not much: with 1,000 rows on both sides and 11 bins, the corrected PSI has the standard deviation
sqrt(2 x 10) x 0.002 = 0.009. So the worst of fifty features stays near 0.03, far below the gate's 0.15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from divisions.stability import corrected_psi

MIN_ROWS = 1_000
"""With fewer rows on either side, chance alone can reach the gate's threshold. Then there is no verdict."""


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature's corrected index. Below zero, the difference is smaller than expected by chance."""

    name: str
    psi: float
    num_bins: int


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Drift of all features, greatest first.

    Attributes:
        score: the greatest corrected index, at least 0.
        is_conclusive: whether both sides have enough rows for a verdict.
    """

    score: float
    features: tuple[FeatureDrift, ...]
    num_reference_rows: int
    num_new_rows: int

    @property
    def is_conclusive(self) -> bool:
        return min(self.num_reference_rows, self.num_new_rows) >= MIN_ROWS


def drift_report(names: Sequence[str], reference: Sequence[Sequence[int]], new: Sequence[Sequence[int]]) -> DriftReport:
    """Compares the reference's counts by feature and bin with the counts of new data in the same bins.

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
