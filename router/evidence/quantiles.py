"""The quantiles at which versions are compared, as thresholds of a histogram. Pure."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from router.evidence.histogram import NUM_BUCKETS, Counts

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995)
MIN_REFERENCE = 20
"""With fewer requests in the reference window, thresholds would be noise, so nothing is judged."""

Indices: TypeAlias = npt.NDArray[np.int64]
"""Thresholds as indices of buckets; one for each of `QUANTILES`, unless stated otherwise."""
PerQuantile: TypeAlias = npt.NDArray[np.float64]
"""One number for each of `QUANTILES`."""

_Q: PerQuantile = np.array(QUANTILES)


def threshold_indices(reference: Counts) -> Indices:
    """The buckets whose upper edges are the reference's quantiles ``x_q``, ``[6]``."""
    cumulative = np.cumsum(reference)
    wanted = np.maximum(1, np.ceil(_Q * cumulative[-1] - 1e-9)).astype(np.int64)
    indices: Indices = np.searchsorted(cumulative, wanted).astype(np.int64)
    return indices


def exceedance_rates(reference: Counts, at: Indices) -> PerQuantile:
    """The share of requests slower than each threshold, ``(hits + 1/2) / (n + 1)``: never quite 0 or 1."""
    cumulative = np.cumsum(reference)
    rates: PerQuantile = (cumulative[-1] - cumulative[at] + 0.5) / (cumulative[-1] + 1.0)
    return rates


def raised(reference: Counts, at: Indices, gaps: PerQuantile) -> Indices:
    """The thresholds that the reference's requests exceed with odds lower by ``exp(gaps)``.

    Some customers may exceed ``at`` with odds higher by that factor. They exceed the raised thresholds about as often
    as all customers exceed ``at``.

    Args:
        reference: requests of all customers.
        at: their thresholds.
        gaps: differences of log-odds, at least 0.

    Returns:
        Thresholds; `NUM_BUCKETS` where the reference has no requests that slow.
    """
    cumulative = np.cumsum(reference)
    ln_odds = np.log((cumulative[-1] - cumulative + 0.5) / (cumulative + 0.5))
    found = np.searchsorted(-ln_odds, gaps - ln_odds[at] - 1e-12)
    indices: Indices = np.where(gaps > 0, np.minimum(found, NUM_BUCKETS), at).astype(np.int64)
    return indices
