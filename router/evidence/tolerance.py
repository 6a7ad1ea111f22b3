"""How much slower a canary may be and still count as good: by a share, or by a time too short to notice. Pure.

A share alone is too strict where requests are fast. A tenth of a third of a millisecond is 30 us. An idle processor
takes longer than that to wake, and a canary with a fifth of the traffic idles more than stable. So for every latency
``x`` of stable the canary may take::

    m(x) = max((1 + tolerance) x, x + tolerance_ms)

A latency threshold is the index of a bucket (`router.evidence.histogram`). ``m`` is a table of such indices, computed
once, and it rises with ``x``. So every threshold of stable has one for the canary. "The canary is stochastically no
slower than m of stable" is as good a null hypothesis as one with a share alone.
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
