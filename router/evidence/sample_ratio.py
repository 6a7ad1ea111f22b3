"""Tests whether customers arrive at the two arms by the weights that were set. It counts *distinct* customers. Pure.

Null hypothesis: each distinct customer is the canary's with probability w, independently. A hash with a fresh salt does
that. With ``n = (stable, canary)`` distinct customers so far and a Dirichlet prior ``a = 100 w``::

    ln E = ln B(a + n) - ln B(a) - sum_i n_i ln w_i

(Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.) Valid at every look. It
finds gateways that split wrongly: a canary that some of them cannot reach, weights that did not arrive, a key that
differs between callers. It does not count requests: a customer with many requests is one draw.

**Counting distinct customers in bounded memory.** A customer's 64-bit digest gives the place in its upper 53 bits
(`router.evidence.split`); the lower 11 are independent of it. Only customers whose ``level`` lowest bits are zero are
counted. Whenever there are too many, the level rises by one and half of them remain. The result is an exact count of a
random part of the customers. Every gateway has the same part, so the controller can merge their reports and count no
customer twice (Wegman's adaptive sampling; Flajolet 1990).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from router.evidence.split import SPARE_BITS

MAX_LEVEL = SPARE_BITS
"""The bits of a digest that the split does not use."""
GATEWAY_CUSTOMERS = 4_096
CONTROLLER_CUSTOMERS = 16_384


class DistinctCustomers:
    """The distinct customers of both arms, or of a random part of them. ``limit`` bounds how many are remembered."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arms: dict[int, bool] = {}
        self.level = 0

    def add(self, digests: Iterable[int], *, is_canary: bool) -> list[int]:
        """Takes customers' digests; returns the new ones that belong to the counted part.

        A known customer stays with its first arm.
        """
        mask = (1 << self.level) - 1
        new = [digest for digest in set(digests) if not digest & mask and digest not in self._arms]
        for digest in new:
            self._arms[digest] = is_canary
        while len(self._arms) > self._limit and self.level < MAX_LEVEL:
            self.raise_level(self.level + 1)
        if len(self._arms) > self._limit:  # Beyond some ten million customers: enough is known.
            for digest in new:
                self._arms.pop(digest, None)
            return []
        mask = (1 << self.level) - 1
        return [digest for digest in new if not digest & mask]

    def raise_level(self, level: int) -> None:
        """Counts a smaller part from now on, if ``level`` is above the present one."""
        if level > self.level:
            self.level = min(level, MAX_LEVEL)
            mask = (1 << self.level) - 1
            self._arms = {digest: arm for digest, arm in self._arms.items() if not digest & mask}

    @property
    def counts(self) -> tuple[int, int]:
        """Distinct customers of stable, and of the canary."""
        num_canary = sum(self._arms.values())
        return len(self._arms) - num_canary, num_canary


def ln_e(num_stable: int, num_canary: int, weight_bp: int) -> float:
    """The evidence that the split is not by ``weight_bp``; 0 where the weight leaves one arm empty."""
    share = weight_bp / 10_000
    if not 0.0 < share < 1.0:
        return 0.0
    prior = (100.0 * (1.0 - share), 100.0 * share)
    counts = (num_stable, num_canary)
    posterior = tuple(a + n for a, n in zip(prior, counts, strict=True))
    return (
        _ln_beta(*posterior)
        - _ln_beta(*prior)
        - sum(n * math.log(w) for n, w in zip(counts, (1.0 - share, share), strict=True))
    )


def _ln_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
