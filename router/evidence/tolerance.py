"""How much slower a canary may be and still count as good: by a share, or by so little that nobody can notice. Pure.

A share alone asks too much where requests are fast. At a third of a millisecond a tenth is 30 us, less than an idle
processor takes to wake, and a canary with a fifth of the traffic idles more than stable does. So for every latency
``x`` of stable the canary may take::

    m(x) = max((1 + tolerance) x, x + tolerance_ms)

A latency threshold is the index of a bucket (`router.evidence.histogram`), and ``m`` a table of such indices, computed
once. It rises with ``x``. So "the canary is stochastically no slower than m of stable" is a null hypothesis as good as
one with a share alone, and every threshold of stable has one for the canary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from router.evidence.histogram import FINITE_BUCKETS, GROWTH, LOWEST_S, NUM_BUCKETS, OVERFLOW, tolerance_buckets
from router.evidence.quantiles import Indices


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The canary's threshold for each of stable's, ``[NUM_BUCKETS]`` each; `OVERFLOW` where it is out of range.

    Attributes:
        once: ``m``.
        twice: ``m`` of ``m``, for arms that carry unlike load.
    """

    once: Indices
    twice: Indices


def tolerance_of(share: float, extra_ms: float) -> Tolerance:
    """The tolerance of an `AnalysisSpec`; the share is rounded to whole buckets, the milliseconds up to them."""
    index = np.arange(NUM_BUCKETS)
    edges_s = LOWEST_S * GROWTH ** index.astype(np.float64)
    by_time = np.ceil(np.log((edges_s + extra_ms / 1e3) / LOWEST_S) / math.log(GROWTH) - 1e-6).astype(np.int64)
    once = np.maximum(index + tolerance_buckets(share), by_time)
    once = np.where(once <= FINITE_BUCKETS, once, OVERFLOW).astype(np.int64)
    return Tolerance(once, once[once])
