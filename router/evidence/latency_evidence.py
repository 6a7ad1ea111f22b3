"""Evidence that a canary is slower than stable, as an e-process: valid at every look, not only at the last.

Null hypothesis: the canary is stochastically no slower than ``m`` of stable, where ``m(x)`` is the larger of
(1 + delta) x and x plus a fixed time (`router.evidence.tolerance`). In each tick of one second, for each quantile q of
`QUANTILES` and each effect size theta of `THETAS`, the requests slower than a threshold are compared as a 2x2 table:

- the threshold ``x_q`` and the rate ``p_b = (hits + 1/2) / (n + 1)`` come from stable's *previous* 30 seconds, so
  they are fixed before the tick begins (predictable);
- ``y_b`` of ``n_b`` stable requests were slower than ``x_q``, ``y_c`` of ``n_c`` canary requests slower than
  ``m(x_q)``;
- with ``p_c = theta p_b / (1 - p_b + theta p_b)`` (the rate whose odds are theta times stable's) and the pooled rate
  ``p_0 = (n_c p_c + n_b p_b) / (n_c + n_b)``,

::

    e = (p_c/p_0)^y_c ((1-p_c)/(1-p_0))^(n_c-y_c) (p_b/p_0)^y_b ((1-p_b)/(1-p_0))^(n_b-y_b)

This is the 2x2 e-variable of Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests that
allow for optional stopping" (arXiv 2106.02693). `router.evidence.mixture` multiplies, caps and restarts them.

While baking, the arms carry unlike load, 97 to 3. Where more requests queue they are slower, in any version. So then
the canary must be slower than ``m(m(x))`` of *both*: of stable's holdback now, and of stable before the rollout, when
it had all traffic. If the load is higher now than then, the canary may be slower in proportion. The smaller ``e`` of
the two counts. If the canary is no slower than one of them, that one's product is a test martingale, and the product of
the smaller ones lies below it.

Chance assigns customers, not requests, and one second has fewer causes than requests. So the formula's counts are
corrected twice. First, the canary's customers may have been slower than the others before the rollout. Then the
canary's thresholds are raised until they are exceeded as rarely as stable's (``gaps``). Second, counts are divided by
the design effect of requests that share a second (`router.evidence.clustering`).

A failed request is slower than every threshold. A quantile whose threshold lies beyond the histogram's range (stable
itself fails, or takes 10 s) says nothing, so the tick leaves it out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from router.evidence.clustering import INDEPENDENT, design_effect
from router.evidence.histogram import FINITE_BUCKETS, GROWTH, OVERFLOW, Counts
from router.evidence.mixture import MixtureSnapshot, RestartMixture
from router.evidence.quantiles import (
    MIN_REFERENCE,
    QUANTILES,
    Indices,
    PerQuantile,
    exceedance_rates,
    raised,
    threshold_indices,
)
from router.evidence.tolerance import Tolerance
from router.evidence.windows import REFERENCE_S

CAPS_LN_E = (1.5, 1.5, 1.5, 1.0, 0.75, 0.75)
"""The most evidence of one tick, by quantile. At high quantiles a stall looks like a slow tail for one tick, and the
ticks between stalls say little against it. So a few stalls of one arm add up: with 1.25 for all quantiles, they rolled
back 0.6 % of equal versions. Near the middle, the ticks between stalls undo them, and five ticks of 1.5 reach
ln(100)."""
MOST_DEVIATIONS = (math.inf, math.inf, math.inf, 3.0, 3.0, 3.0)
"""The largest share of slow requests that counts in one second, for either arm: so many standard deviations (of the
smaller arm) above the expected share. At high quantiles one stall slows as many requests as are expected in half a
minute. The limit is the same on both sides, so a stall weighs as one bad second. Near the middle it hardly matters."""
THETAS = (1.15, 1.3, 1.6, 2.5, 5.0)

ALIKE: PerQuantile = np.zeros(len(QUANTILES))
"""No gap between the arms' customers."""
_Column: TypeAlias = npt.NDArray[np.float64]
_Numbers: TypeAlias = npt.NDArray[Any]
_DEVIATIONS: PerQuantile = np.array(MOST_DEVIATIONS)
_THETA: npt.NDArray[np.float64] = np.array(THETAS)
_CAP: npt.NDArray[np.float64] = np.array(CAPS_LN_E)
NUM_CELLS = len(QUANTILES) * len(THETAS)


@dataclass(frozen=True, slots=True)
class Dominant:
    """The alternative that the evidence rests on most: odds ``ratio`` times stable's at ``quantile``."""

    quantile: float
    ratio: float
    ticks: int


class LatencyEvidence:
    """The latency guard of one rollout.

    Args:
        tolerance: how much slower the canary may be.
    """

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self._mixture = RestartMixture(NUM_CELLS, np.repeat(_CAP, len(THETAS)))

    def update(
        self,
        reference: Counts,
        stable: Counts,
        canary: Counts,
        correlations: PerQuantile = INDEPENDENT,
        gaps: PerQuantile = ALIKE,
    ) -> None:
        """Takes one tick.

        Args:
            reference: stable's requests of the previous 30 s, without this tick's.
            stable: stable's requests that arrived in the tick.
            canary: the canary's requests that arrived in the tick.
            correlations: of requests within one second, see `router.evidence.clustering`.
            gaps: by how much the canary's customers were slower before the rollout, in log-odds.
        """
        limits = self._tolerance.once
        self._mixture.update(tick_ln_e(reference, stable, canary, limits, correlations, gaps).ravel())

    def update_unlike(
        self,
        before: Counts,
        reference: Counts,
        stable: Counts,
        canary: Counts,
        correlations: PerQuantile = INDEPENDENT,
        gaps: PerQuantile = ALIKE,
    ) -> None:
        """Takes one tick in which the canary carries most of the load; see the module.

        Args:
            before: stable's requests of the 30 s before the rollout, when it had all traffic; empty if unknown.
            reference: stable's requests of the previous 30 s, without this tick's.
            stable: stable's requests that arrived in the tick.
            canary: the canary's requests that arrived in the tick.
            correlations: as in `update`.
            gaps: as in `update`.
        """
        limits = self._tolerance.twice
        now = tick_ln_e(reference, stable, canary, limits, correlations, gaps)
        num_before = int(before.sum())
        if num_before >= MIN_REFERENCE:
            heavier = int(canary.sum()) * REFERENCE_S / num_before
            then = frozen_ln_e(before, canary, slower_by(limits, heavier), correlations)
            now = np.minimum(now, then)
        self._mixture.update(now.ravel())

    def update_frozen(self, reference: Counts, canary: Counts, correlations: PerQuantile = INDEPENDENT) -> None:
        """Takes a tick of the canary alone, against stable's last traffic."""
        self._mixture.update(frozen_ln_e(reference, canary, self._tolerance.once, correlations).ravel())

    def ln_e(self) -> float:
        return self._mixture.ln_e()

    def dominant(self) -> Dominant:
        ticks, cell = self._mixture.dominant()
        return Dominant(QUANTILES[cell // len(THETAS)], THETAS[cell % len(THETAS)], ticks)

    def snapshot(self) -> MixtureSnapshot:
        return self._mixture.snapshot()

    def restore(self, snapshot: MixtureSnapshot) -> None:
        self._mixture.restore(snapshot)


def slower_by(limits: Indices, factor: float) -> Indices:
    """The limits times ``factor``, if that is above 1; `OVERFLOW` where they are out of range."""
    moved = limits + math.ceil(math.log(max(factor, 1.0)) / math.log(GROWTH) - 1e-9)
    return np.where(moved <= FINITE_BUCKETS, moved, OVERFLOW)


def tick_ln_e(
    reference: Counts,
    stable: Counts,
    canary: Counts,
    limits: Indices,
    correlations: PerQuantile = INDEPENDENT,
    gaps: PerQuantile = ALIKE,
) -> npt.NDArray[np.float64]:
    """One tick's ``ln e`` for every quantile and effect size, uncapped.

    Args:
        reference: stable's requests of the previous 30 s.
        stable: stable's requests of the tick.
        canary: the canary's.
        limits: the canary's threshold for each of stable's, as in `Tolerance`.
        correlations: of requests within one second, by quantile.
        gaps: by how much the canary's customers were slower before the rollout, in log-odds, by quantile.

    Returns:
        ``[6, 5]``; zero where the tick says nothing.
    """
    num_reference, num_stable, num_canary = int(reference.sum()), int(stable.sum()), int(canary.sum())
    if num_reference < MIN_REFERENCE or num_stable == 0 or num_canary == 0:
        return np.zeros((len(QUANTILES), len(THETAS)))
    at = threshold_indices(reference)
    at_canary = limits[np.minimum(raised(reference, at, gaps), OVERFLOW)]
    rate = exceedance_rates(reference, at)
    most = rate + _DEVIATIONS * np.sqrt(rate * (1.0 - rate) / min(num_stable, num_canary))
    n_b, y_b = _effective(stable, at, correlations, most)
    n_c, y_c = _effective(canary, at_canary, correlations, most)
    ln_e = two_by_two_ln_e(rate[:, np.newaxis], _THETA, y_b, n_b, y_c, n_c)
    return np.where((at_canary <= FINITE_BUCKETS)[:, np.newaxis], ln_e, 0.0)


def frozen_ln_e(
    reference: Counts, canary: Counts, limits: Indices, correlations: PerQuantile = INDEPENDENT
) -> npt.NDArray[np.float64]:
    """One tick's ``ln e`` of the canary alone, against the rates of a fixed reference.

    A one-sample likelihood ratio that takes stable's old rates for the truth. It shows that requests are slower now
    than they were, but not that the *version* is the reason. So it is called weaker evidence.

    Returns:
        ``[6, 5]``; zero where the tick says nothing.
    """
    if int(reference.sum()) < MIN_REFERENCE or not canary.any():
        return np.zeros((len(QUANTILES), len(THETAS)))
    at = threshold_indices(reference)
    at_canary = limits[at]
    rates = exceedance_rates(reference, at)
    most = rates + _DEVIATIONS * np.sqrt(rates * (1.0 - rates) / int(canary.sum()))
    n_c, y_c = _effective(canary, at_canary, correlations, most)
    rate = rates[:, np.newaxis]
    worse = _THETA * rate / (1.0 - rate + _THETA * rate)
    ln_e = y_c * np.log(worse / rate) + (n_c - y_c) * np.log((1.0 - worse) / (1.0 - rate))
    return np.where((at_canary <= FINITE_BUCKETS)[:, np.newaxis], ln_e, 0.0)


def _effective(counts: Counts, at: Indices, correlations: PerQuantile, most: PerQuantile) -> tuple[_Column, _Column]:
    """How many independent requests a second is worth, and how many of them exceed the thresholds; ``[6, 1]`` each.

    ``most`` is the largest share that counts as exceeding.
    """
    cumulative = np.cumsum(counts)
    number = int(cumulative[-1])
    effect = design_effect(number, correlations)
    exceeding = np.minimum(number - cumulative[at], number * most)
    return (number / effect)[:, np.newaxis], (exceeding / effect)[:, np.newaxis]


def two_by_two_ln_e(
    p_b: npt.NDArray[np.float64],
    theta: npt.NDArray[np.float64],
    y_b: _Numbers,
    n_b: _Numbers | int,
    y_c: _Numbers,
    n_c: _Numbers | int,
) -> npt.NDArray[np.float64]:
    """``ln`` of the e-variable of the module's formula, broadcast over its arguments; ``p_b`` in (0, 1)."""
    p_c = theta * p_b / (1.0 - p_b + theta * p_b)
    p_0 = (n_c * p_c + n_b * p_b) / (n_c + n_b)
    ln_p_0, ln_not_p_0 = np.log(p_0), np.log1p(-p_0)
    ln_e: npt.NDArray[np.float64] = (
        y_c * (np.log(p_c) - ln_p_0)
        + (n_c - y_c) * (np.log1p(-p_c) - ln_not_p_0)
        + y_b * (np.log(p_b) - ln_p_0)
        + (n_b - y_b) * (np.log1p(-p_b) - ln_not_p_0)
    )
    return ln_e
