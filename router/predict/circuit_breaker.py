"""The gateway's own breaker: stops a canary that fails grossly at once, without the controller. Pure.

It uses the same conditional likelihood ratio as `router.evidence.error_evidence`, with ratios up to a thousand and
alpha 1e-6, so that it trips only on gross failure. `update` is called a hundred times a second with the counts since
the last call. A call without failures costs two additions.

No call adds more than a third of the threshold. A replica that dies fails a whole batch; that is one failure and not
thirty. So the breaker needs failures in at least three calls, which take 20 ms.

The canary's share of requests is the observed one of the last ten seconds, with the configured weight as a prior:
customers differ in their request rates, and errors come later than arrivals.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from router.evidence.error_evidence import TOLERANCE
from router.evidence.mixture import RestartMixture

ALPHA = 1e-6
LN_THRESHOLD = -math.log(ALPHA)
CAP_LN_E = LN_THRESHOLD / 3
THETAS = (3.0, 10.0, 30.0, 100.0, 1_000.0)
_THETA: npt.NDArray[np.float64] = np.array(THETAS)
_LN_RATIO: npt.NDArray[np.float64] = np.log(_THETA / TOLERANCE)
_DECAY = 0.999
"""Factor on the request counts at each call: about a thousand calls count, which is ten seconds."""
_PRIOR_REQUESTS = 20.0


class CircuitBreaker:
    """The breaker of one canary in one gateway. Once tripped, it stays tripped.

    Args:
        weight_bp: the canary's weight.
    """

    def __init__(self, weight_bp: int) -> None:
        self._mixture = RestartMixture(len(THETAS), CAP_LN_E)
        self._ln_e = 0.0
        self.canary_requests = 0
        self.canary_errors = 0
        self.stable_requests = 0
        self.stable_errors = 0
        self.is_tripped = False
        self.set_weight(weight_bp)

    def set_weight(self, weight_bp: int) -> None:
        """The split has changed: the share is estimated anew; the evidence is kept."""
        self._canary = _PRIOR_REQUESTS * weight_bp / 10_000
        self._stable = _PRIOR_REQUESTS - self._canary

    @property
    def ln_e(self) -> float:
        return self._ln_e

    def update(self, stable_requests: int, stable_errors: int, canary_requests: int, canary_errors: int) -> bool:
        """Takes the counts of both arms since the last call; returns whether the breaker trips now."""
        self.canary_requests += canary_requests
        self.stable_requests += stable_requests
        self._canary = self._canary * _DECAY + max(0, canary_requests)
        self._stable = self._stable * _DECAY + max(0, stable_requests)
        if canary_errors <= 0 and stable_errors <= 0:
            return False
        self.canary_errors += canary_errors
        self.stable_errors += stable_errors
        share = self._canary / (self._canary + self._stable)
        if self.is_tripped or not 0.0 < share < 1.0:
            return False
        self._mixture.update(batch_ln_e(share, stable_errors, canary_errors))
        self._ln_e = self._mixture.ln_e()
        self.is_tripped = self._ln_e >= LN_THRESHOLD
        return self.is_tripped


def batch_ln_e(share: float, stable_errors: int, canary_errors: int) -> npt.NDArray[np.float64]:
    """``ln e`` for every ratio, ``[5]``, uncapped; ``share`` is the canary's of the requests."""
    rest = 1.0 - share
    ln_weight = np.log((share * TOLERANCE + rest) / (share * _THETA + rest))
    ln_e: npt.NDArray[np.float64] = canary_errors * (_LN_RATIO + ln_weight) + stable_errors * ln_weight
    return ln_e
