"""Evidence that a canary fails more often than stable, as an e-process.

Given that a request failed, and that the canary had the share w of the tick's requests, the failure is the
canary's with probability ``q(theta) = w theta / (w theta + 1 - w)`` when its rate of failure is theta times
stable's. Null hypothesis: theta <= `TOLERANCE`. For each theta of `THETAS`::

    e = (q(theta) / q(1.2))^(canary errors) * ((1 - q(theta)) / (1 - q(1.2)))^(stable errors)

This is the likelihood ratio of a conditional binomial test, here as a test martingale (Wald's sequential test,
made valid at every look by Ville's inequality). It needs no known rate of failure, and stays silent while
nothing fails. Each is an e-variable for every theta_0 <= 1.2, since e rises with the canary's errors. As for latency,
`router.evidence.mixture` caps, restarts and averages, because a burst of failures has one cause and not many.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from router.evidence.mixture import MixtureSnapshot, RestartMixture

TOLERANCE = 1.2
THETAS = tuple(TOLERANCE * factor for factor in (1.5, 2.0, 4.0, 8.0))
_THETA: npt.NDArray[np.float64] = np.array(THETAS)


class ErrorEvidence:
    """The error guard of one rollout."""

    def __init__(self) -> None:
        self._mixture = RestartMixture(len(THETAS))

    def update(self, stable_requests: int, stable_errors: int, canary_requests: int, canary_errors: int) -> None:
        """Takes one tick's counts; requests include those that failed."""
        self._mixture.update(tick_ln_e(stable_requests, stable_errors, canary_requests, canary_errors))

    def update_frozen(self, rate: float, canary_requests: int, canary_errors: int) -> None:
        """Takes a tick of the canary alone; ``rate`` is the share of stable's earlier requests that failed."""
        if canary_requests:
            self._mixture.update(frozen_ln_e(rate, canary_requests, canary_errors))

    def ln_e(self) -> float:
        return self._mixture.ln_e()

    def dominant(self) -> tuple[float, int]:
        """The multiple of stable's rate of failure that the evidence points at, and for how many ticks it has."""
        ticks, cell = self._mixture.dominant()
        return THETAS[cell], ticks

    def snapshot(self) -> MixtureSnapshot:
        return self._mixture.snapshot()

    def restore(self, snapshot: MixtureSnapshot) -> None:
        self._mixture.restore(snapshot)


def tick_ln_e(
    stable_requests: int, stable_errors: int, canary_requests: int, canary_errors: int
) -> npt.NDArray[np.float64]:
    """One tick's ``ln e`` for every theta, ``[4]``, uncapped; zero while one arm has no requests."""
    if stable_requests == 0 or canary_requests == 0:
        return np.zeros(len(THETAS))
    share = canary_requests / (canary_requests + stable_requests)
    odds, null_odds = share * _THETA, share * TOLERANCE
    rest = 1.0 - share
    # ln(q(theta)/q(1.2)) and ln((1-q(theta))/(1-q(1.2))), with the common factors cancelled.
    ln_weight = np.log((null_odds + rest) / (odds + rest))
    ln_e: npt.NDArray[np.float64] = canary_errors * (np.log(_THETA / TOLERANCE) + ln_weight) + stable_errors * ln_weight
    return ln_e


def frozen_ln_e(rate: float, requests: int, errors: int) -> npt.NDArray[np.float64]:
    """One tick's likelihood ratio against a known rate of failure, ``[4]``, uncapped; ``rate`` in (0, 1)."""
    null = min(TOLERANCE * rate, 0.5)
    odds = null / (1.0 - null) * _THETA / TOLERANCE
    worse = odds / (1.0 + odds)
    ln_e: npt.NDArray[np.float64] = errors * np.log(worse / null) + (requests - errors) * np.log(
        (1 - worse) / (1 - null)
    )
    return ln_e
