"""How far two histograms over the same bins lie apart: the population stability index, corrected for chance. Pure.

    PSI = sum over bins of (q - p) ln(q / p),        p: share in the reference, q: share in the new data
    E[PSI | no drift] = (B - 1)(1/n + 1/m)           B bins, n reference rows, m new rows

The second line follows from nm/(n+m) times PSI being about chi-squared with B - 1 degrees of freedom. Without
it a feature of 51 states over 1,000 rows would show 0.1 of pure noise, and small data would always look shifted.

Bins with fewer than `MIN_BIN_ROWS` reference rows are pooled into one, since the formula holds for well-filled bins;
half a row is added to each bin, so that an empty one gives a large number and not an infinite one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MIN_BIN_ROWS = 5
"""The usual least expected count of a chi-squared cell."""


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
