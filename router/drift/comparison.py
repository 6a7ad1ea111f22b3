"""Is a window's histogram further from its reference than a tolerance, beyond chance? Pure.

The likelihood ratio of two multinomials, G, is about chi-squared with B - 1 degrees of freedom if both samples come
from one distribution. If their index (PSI) is ``t``, it is about non-central, with ``t n m / (n + m)``. G rather than
Pearson's sum, because levels here are as low as one in a hundred million: in a bin where 25 rows are expected, the tail
of Pearson's sum is wrong by an order of magnitude there, that of G is not (Bahadur, 1967).

The p-value is that of the greatest difference that is still tolerated, so a model is not reported for a difference that
nobody cares about, however many rows there are. Patnaik's and then Wilson and Hilferty's approximation turn it into a
normal one; both err towards too large a p-value in the upper tail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Counts: TypeAlias = npt.NDArray[np.float64]

MIN_ROWS = 1_000
"""With fewer on either side there is no verdict."""
MIN_EXPECTED = 5.0
"""Bins in which fewer rows are expected are pooled into one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """``psi`` is corrected for chance, at least 0. ``ln_p`` is the level at which the tolerance is refuted."""

    psi: float = 0.0
    ln_p: float = 0.0


def compare(reference_B: Counts, new_B: Counts, tolerance: float) -> Difference | None:
    """Compares two histograms over the same bins; None if there are too few rows for a verdict.

    >>> compare(np.array([9e4, 1e4]), np.array([900.0, 100.0]), tolerance=0.0)
    Difference(psi=0.0, ln_p=-0.0...)
    """
    m, n = float(reference_B.sum()), float(new_B.sum())
    if min(m, n) < MIN_ROWS:
        return None
    r_B, c_B = _pooled(reference_B, new_B, m, n)
    freedom = len(r_B) - 1
    if freedom < 1:
        return Difference()
    effective = m * n / (m + n)
    p_B, q_B = (r_B + 0.5) / (m + 0.5 * len(r_B)), (c_B + 0.5) / (n + 0.5 * len(r_B))
    psi = float(((q_B - p_B) * np.log(q_B / p_B)).sum()) - freedom / effective
    share_B = (r_B + c_B) / (m + n)
    g = 2.0 * (_ratio(r_B, m * share_B) + _ratio(c_B, n * share_B))
    return Difference(max(0.0, psi), ln_tail(g, freedom, tolerance * effective))


def ln_tail(value: float, freedom: int, noncentrality: float) -> float:
    """ln of the chance that a non-central chi-squared variable is above ``value``."""
    scale = (freedom + 2.0 * noncentrality) / (freedom + noncentrality)
    h = (freedom + noncentrality) ** 2 / (freedom + 2.0 * noncentrality)
    spread = 2.0 / (9.0 * h)
    return ln_normal_tail(((max(value, 0.0) / scale / h) ** (1.0 / 3.0) - 1.0 + spread) / math.sqrt(spread))


def ln_normal_tail(z: float) -> float:
    """ln of the chance that a standard normal variable is above ``z``."""
    if z < 30.0:
        return math.log(0.5 * math.erfc(z / math.sqrt(2.0)))
    return -0.5 * z * z - math.log(z * math.sqrt(2.0 * math.pi))


def _ratio(observed_B: Counts, expected_B: Counts) -> float:
    seen_B = observed_B > 0
    return float((observed_B[seen_B] * np.log(observed_B[seen_B] / expected_B[seen_B])).sum())


def _pooled(reference_B: Counts, new_B: Counts, m: float, n: float) -> tuple[Counts, Counts]:
    """The counts with thin bins summed into one, which is left out if it is empty on both sides."""
    is_thin_B = reference_B * min(1.0, n / m) < MIN_EXPECTED
    r_B = np.append(reference_B[~is_thin_B], reference_B[is_thin_B].sum())
    c_B = np.append(new_B[~is_thin_B], new_B[is_thin_B].sum())
    return (r_B, c_B) if r_B[-1] + c_B[-1] > 0 else (r_B[:-1], c_B[:-1])
