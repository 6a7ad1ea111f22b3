"""Evidence that a canary is slower than stable, as an e-process: valid at every look, not only at the last.

Null hypothesis: the canary is stochastically no slower than ``m`` of stable, where ``m(x)`` is the larger of
(1 + delta) x and x plus a fixed time (`router.tolerance`). In each tick of one second, for each quantile q of
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
allow for optional stopping" (arXiv 2106.02693). `router.mixture` multiplies, caps and restarts them.

While baking, the arms carry unlike load, 97 to 3, and requests that queue are slower where more of them do, whatever
the version. So then the canary must be slower than ``m(m(x))`` of *both* what stable does now with its holdback,
and what it did before the rollout with all of the traffic: of the two, the smaller ``e`` counts. If either says that
the canary is no slower, its product is a test martingale, and that of the smaller ones lies below it.

A failed request is slower than every threshold. A quantile whose threshold lies beyond the histogram's range (stable
itself fails, or takes 10 s) says nothing and is left out of the tick.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.histogram import FINITE_BUCKETS, GROWTH, Counts
from router.mixture import MixtureSnapshot, RestartMixture
from router.tolerance import Indices, Tolerance

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995)
CAPS_LN_E = (1.5, 1.5, 1.5, 1.0, 0.75, 0.75)
"""The most that one tick may bring, by quantile. Far out, a stall looks like a slow tail for one tick, and the ticks
between stalls say little against it, so a few stalls of one arm add up: with 1.25 for all, they rolled back 0.6 % of
equal versions. Near the middle the ticks between stalls undo them, and five ticks of 1.5 suffice to reach ln(100)."""
THETAS = (1.15, 1.3, 1.6, 2.5, 5.0)
MIN_REFERENCE = 20
"""Stable requests in the reference window below which thresholds would be noise, so nothing is judged."""

MAX_STEPS = 206
"""Slow-downs that are tried, in buckets: up to 50 times."""

_Q: npt.NDArray[np.float64] = np.array(QUANTILES)
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

    def update(self, reference: Counts, stable: Counts, canary: Counts) -> None:
        """Takes one tick.

        Args:
            reference: stable's requests of the previous 30 s, without this tick's.
            stable: stable's requests that arrived in the tick.
            canary: the canary's requests that arrived in the tick.
        """
        self._mixture.update(tick_ln_e(reference, stable, canary, self._tolerance.once).ravel())

    def update_unlike(self, before: Counts, reference: Counts, stable: Counts, canary: Counts) -> None:
        """Takes one tick in which the canary carries most of the load; see the module.

        Args:
            before: stable's requests of the 30 s before the rollout, when it had all of the load; nothing if unknown.
            reference: stable's requests of the previous 30 s, without this tick's.
            stable: stable's requests that arrived in the tick.
            canary: the canary's requests that arrived in the tick.
        """
        now = tick_ln_e(reference, stable, canary, self._tolerance.twice)
        if int(before.sum()) >= MIN_REFERENCE:
            now = np.minimum(now, frozen_ln_e(before, canary, self._tolerance.twice))
        self._mixture.update(now.ravel())

    def update_frozen(self, reference: Counts, canary: Counts) -> None:
        """Takes a tick of the canary alone, against what stable did last."""
        self._mixture.update(frozen_ln_e(reference, canary, self._tolerance.once).ravel())

    def ln_e(self) -> float:
        return self._mixture.ln_e()

    def dominant(self) -> Dominant:
        ticks, cell = self._mixture.dominant()
        return Dominant(QUANTILES[cell // len(THETAS)], THETAS[cell % len(THETAS)], ticks)

    def snapshot(self) -> MixtureSnapshot:
        return self._mixture.snapshot()

    def restore(self, snapshot: MixtureSnapshot) -> None:
        self._mixture.restore(snapshot)


def threshold_indices(reference: Counts) -> npt.NDArray[np.int64]:
    """The buckets whose upper edges are the reference's quantiles ``x_q``, ``[6]``."""
    cumulative = np.cumsum(reference)
    wanted = np.maximum(1, np.ceil(_Q * cumulative[-1] - 1e-9)).astype(np.int64)
    indices: npt.NDArray[np.int64] = np.searchsorted(cumulative, wanted).astype(np.int64)
    return indices


def tick_ln_e(reference: Counts, stable: Counts, canary: Counts, limits: Indices) -> npt.NDArray[np.float64]:
    """One tick's ``ln e`` for every quantile and effect size, uncapped.

    Args:
        reference: stable's requests of the previous 30 s.
        stable: stable's requests of the tick.
        canary: the canary's.
        limits: the canary's threshold for each of stable's, as in `Tolerance`.

    Returns:
        ``[6, 5]``; zero where the tick says nothing.
    """
    num_reference, num_stable, num_canary = int(reference.sum()), int(stable.sum()), int(canary.sum())
    if num_reference < MIN_REFERENCE or num_stable == 0 or num_canary == 0:
        return np.zeros((len(QUANTILES), len(THETAS)))
    at = threshold_indices(reference)
    at_canary = limits[at]
    is_known = at_canary <= FINITE_BUCKETS
    hits = num_reference - np.cumsum(reference)[at]
    y_b = (num_stable - np.cumsum(stable)[at])[:, np.newaxis]
    y_c = (num_canary - np.cumsum(canary)[at_canary])[:, np.newaxis]
    rate = ((hits + 0.5) / (num_reference + 1.0)).astype(np.float64)[:, np.newaxis]
    ln_e = two_by_two_ln_e(rate, _THETA, y_b, num_stable, y_c, num_canary)
    return np.where(is_known[:, np.newaxis], ln_e, 0.0)


def frozen_ln_e(reference: Counts, canary: Counts, limits: Indices) -> npt.NDArray[np.float64]:
    """One tick's ``ln e`` of the canary alone, against the rates of a reference that does not move any more.

    A one-sample likelihood ratio: it takes stable's old rates for the truth, so it is no proof that the *version* is
    slower, only that requests are slower now than they were. That is why it is called weaker.

    Returns:
        ``[6, 5]``; zero where the tick says nothing.
    """
    num_reference, num_canary = int(reference.sum()), int(canary.sum())
    if num_reference < MIN_REFERENCE or num_canary == 0:
        return np.zeros((len(QUANTILES), len(THETAS)))
    at = threshold_indices(reference)
    at_canary = limits[at]
    hits = num_reference - np.cumsum(reference)[at]
    y_c = (num_canary - np.cumsum(canary)[at_canary])[:, np.newaxis]
    rate = ((hits + 0.5) / (num_reference + 1.0)).astype(np.float64)[:, np.newaxis]
    worse = _THETA * rate / (1.0 - rate + _THETA * rate)
    ln_e = y_c * np.log(worse / rate) + (num_canary - y_c) * np.log((1.0 - worse) / (1.0 - rate))
    return np.where((at_canary <= FINITE_BUCKETS)[:, np.newaxis], ln_e, 0.0)


def two_by_two_ln_e(
    p_b: npt.NDArray[np.float64],
    theta: npt.NDArray[np.float64],
    y_b: npt.NDArray[np.int64],
    n_b: int,
    y_c: npt.NDArray[np.int64],
    n_c: int,
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


def min_detectable_ratio(
    reference: Counts, stable_per_s: float, canary_per_s: float, limits: Indices, ln_threshold: float, within_s: float
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
    rate = ((above[at] * num_reference + 0.5) / (num_reference + 1.0))[:, np.newaxis]
    at_canary = limits[at][:, np.newaxis]
    steps = np.arange(1, MAX_STEPS)
    seen = np.where(at_canary <= FINITE_BUCKETS, above[np.clip(at_canary - steps, 0, FINITE_BUCKETS)], 0.0)  # [6, J]
    best = np.full(len(steps), -math.inf)
    for theta in THETAS:
        p_c = theta * rate / (1.0 - rate + theta * rate)
        p_0 = (canary_per_s * p_c + stable_per_s * rate) / (canary_per_s + stable_per_s)
        growth = canary_per_s * (seen * np.log(p_c / p_0) + (1 - seen) * np.log((1 - p_c) / (1 - p_0)))
        growth = growth + stable_per_s * (rate * np.log(rate / p_0) + (1 - rate) * np.log((1 - rate) / (1 - p_0)))
        best = np.maximum(best, np.minimum(growth, _CAP[:, np.newaxis]).max(axis=0))
    (enough,) = np.nonzero(best * within_s >= ln_threshold + math.log(2 * NUM_CELLS))
    return round(GROWTH ** int(steps[enough[0]]), 2) if len(enough) else None
