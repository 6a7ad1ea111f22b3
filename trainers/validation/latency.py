"""How long the exported graph takes for one row, on one thread of this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

WARM_UP = 50
ROUNDS = 1_000


def latency_p99_ms(run: Callable[[], object], now_s: Callable[[], float]) -> float:
    """The 99th percentile of the time of ``run``, after some runs that do not count.

    Args:
        run: scores one row.
        now_s: a monotonic clock.
    """
    for _ in range(WARM_UP):
        run()
    took_s: NDArray[np.float64] = np.empty(ROUNDS)
    for number in range(ROUNDS):
        began_s = now_s()
        run()
        took_s[number] = now_s() - began_s
    return float(np.quantile(took_s, 0.99)) * 1e3
