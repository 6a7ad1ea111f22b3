"""When requests are sent: arrival times planned ahead, independent of how fast the server answers.

An open-loop load keeps its plan while the server stalls. So the stall shows in the latencies of all requests that were
planned during it. A closed loop waits instead, and has one slow request. Gil Tene named this error coordinated
omission.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray


class Arrivals(enum.StrEnum):
    """Poisson: many independent callers, with the bursts that this brings. Constant: one every ``1 / rate``."""

    POISSON = "poisson"
    CONSTANT = "constant"


def plan_arrivals(kind: Arrivals, rate_rps: float, duration_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Plans all arrivals of ``[0, duration_s)``.

    Args:
        kind: the arrival process.
        rate_rps: mean requests per second.
        duration_s: length of the plan, in seconds.
        rng: source of randomness; the same seed gives the same plan.

    Returns:
        Rising offsets from the start, in seconds, **Shape** ``[N]``.

    Raises:
        ValueError: the rate or the duration is not above zero.
    """
    if rate_rps <= 0 or duration_s <= 0:
        raise ValueError(f"rate and duration must be above 0, got {rate_rps:g} rps for {duration_s:g} s")
    if kind is Arrivals.CONSTANT:
        return np.arange(max(1, round(rate_rps * duration_s)), dtype=np.float64) / rate_rps
    # Given their number, the arrivals of a Poisson process are independent and uniform; sorting them is all.
    count = int(rng.poisson(rate_rps * duration_s))
    return np.sort(rng.uniform(0.0, duration_s, count))
