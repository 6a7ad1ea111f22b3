"""The smallest slow-down that the present traffic can show. Silence about a smaller one proves nothing. Pure."""

from __future__ import annotations

import math

import numpy as np

from router.evidence.clustering import INDEPENDENT, design_effect
from router.evidence.histogram import FINITE_BUCKETS, GROWTH, Counts
from router.evidence.latency_evidence import CAPS_LN_E, NUM_CELLS, THETAS, two_by_two_ln_e
from router.evidence.quantiles import MIN_REFERENCE, Indices, PerQuantile, exceedance_rates, threshold_indices

MAX_STEPS = 200
"""How many slow-downs are tried, in buckets: up to 50 times slower."""


def min_detectable_ratio(
    reference: Counts,
    stable_per_s: float,
    canary_per_s: float,
    limits: Indices,
    ln_threshold: float,
    within_s: float,
    correlations: PerQuantile = INDEPENDENT,
) -> float | None:
    """The smallest uniform slow-down that this traffic lets the guard find, in expectation, within ``within_s``.

    A canary that is ``GROWTH**j`` times slower exceeds a threshold i as often as stable exceeds i - j. For each
    j the expected ``ln e`` per second of every cell follows from stable's own histogram; the best cell must
    reach the threshold plus what the mixture costs, ``ln(2 * cells)``.

    Returns:
        The ratio (1.25 means 25 % slower), or None if there is no traffic or no slow-down up to 50 times is found.
    """
    num_reference = int(reference.sum())
    if num_reference < MIN_REFERENCE or stable_per_s <= 0 or canary_per_s <= 0 or within_s <= 0:
        return None
    above = (num_reference - np.cumsum(reference)) / num_reference  # share slower than each bucket's edge
    at = threshold_indices(reference)
    rate = exceedance_rates(reference, at)[:, np.newaxis]
    at_canary = limits[at][:, np.newaxis]
    steps = np.arange(1, MAX_STEPS)
    seen = np.where(at_canary <= FINITE_BUCKETS, above[np.clip(at_canary - steps, 0, FINITE_BUCKETS)], 0.0)  # [6, J]
    best = np.full(len(steps), -math.inf)
    n_c, n_b = ((each / design_effect(each, correlations))[:, np.newaxis] for each in (canary_per_s, stable_per_s))
    for theta in THETAS:
        growth = two_by_two_ln_e(rate, np.array(theta), n_b * rate, n_b, n_c * seen, n_c)
        best = np.maximum(best, np.minimum(growth, np.array(CAPS_LN_E)[:, np.newaxis]).max(axis=0))
    (enough,) = np.nonzero(best * within_s >= ln_threshold + math.log(2 * NUM_CELLS))
    return round(GROWTH ** int(steps[enough[0]]), 2) if len(enough) else None
