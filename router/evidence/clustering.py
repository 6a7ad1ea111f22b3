"""Clustering: how alike the requests of one second are, and how many independent requests they are worth. Pure.

A test that counts requests takes each for an independent observation. But one stall delays all requests of a replica,
and a customer who sends a burst is slow in all of it. So one second has fewer causes than requests. Statistics knows
this as clustering, from surveys of households and from trials on litters of mice. The remedy needs no model of the
causes. If two requests of one second are correlated by rho, the share of slow ones among n varies as much as among ``n
/ (1 + (n - 1) rho)`` independent requests (Kish's design effect, "Survey Sampling", 1965). So counts are divided by it
before they are compared (Rao and Scott, "A simple method for the analysis of clustered binary data", Biometrics 48,
1992).

rho comes from stable's own seconds up to now, for each quantile: how much more the share of slow requests changes from
one second to the next than it would for independent requests. Differences of successive seconds leave out slow changes,
for instance of the load, which both arms share (von Neumann, "Distribution of the ratio of the
mean square successive difference to the variance", 1941)::

    rho = sum ((p_t - p_{t-1})^2 / (p (1 - p)) - 1/n_t - 1/n_{t-1}) / sum (2 - 1/n_t - 1/n_{t-1})

Old seconds are forgotten with a time constant of `MEMORY_S`; rho is never below 0. One step counts for at most
`MOST_DEVIATIONS`, because one very bad second must not make the guard blind for minutes; such seconds are limited in
`router.evidence.latency_evidence`. rho is known before the second that it is applied to, so the scaled counts stay
predictable.
"""

from __future__ import annotations

import math

import numpy as np

from router.evidence.histogram import Counts
from router.evidence.quantiles import MIN_REFERENCE, QUANTILES, PerQuantile, exceedance_rates, threshold_indices

MEMORY_S = 300.0
"""Stalls come about once a minute, so it takes minutes to learn their effect."""
MOST_DEVIATIONS = 5.0
"""The largest step from one second to the next that counts, in standard deviations of independent requests."""

INDEPENDENT: PerQuantile = np.zeros(len(QUANTILES))


class Clustering:
    """Estimates the correlation within a second from one version's seconds."""

    def __init__(self) -> None:
        self._excess: PerQuantile = np.zeros(len(QUANTILES))
        self._pairs: PerQuantile = np.zeros(len(QUANTILES))
        self._last: Counts | None = None

    def add(self, reference: Counts, counts: Counts) -> None:
        """Takes one second.

        Args:
            reference: the version's requests of the 30 s before it, which give the thresholds.
            counts: those that arrived in it.
        """
        last, self._last = self._last, counts
        if last is None or int(reference.sum()) < MIN_REFERENCE:
            return
        n_last, n_now = int(last.sum()), int(counts.sum())
        if n_last < 2 or n_now < 2:
            return
        at = threshold_indices(reference)
        rate = exceedance_rates(reference, at)
        step = np.cumsum(last)[at] / n_last - np.cumsum(counts)[at] / n_now
        inverse = 1.0 / n_last + 1.0 / n_now
        kept = math.exp(-1.0 / MEMORY_S)
        squares = np.minimum(step**2 / (rate * (1.0 - rate) * inverse), MOST_DEVIATIONS**2)
        self._excess = kept * self._excess + (squares - 1.0) * inverse
        self._pairs = kept * self._pairs + 2.0 - inverse

    def correlations(self) -> PerQuantile:
        """rho of every quantile, from 0 to 1; 0 while nothing is known."""
        rho: PerQuantile = np.clip(self._excess / np.maximum(self._pairs, 1.0), 0.0, 1.0)
        return rho


def design_effect(requests: float, correlations: PerQuantile) -> PerQuantile:
    """How many requests are worth one independent request, by quantile."""
    effect: PerQuantile = 1.0 + max(requests - 1.0, 0.0) * correlations
    return effect
