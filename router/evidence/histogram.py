"""Latency histograms with logarithmic buckets: small, merged by addition, exact to 2 % at any quantile.

Bucket ``i`` (1 to 700) holds latencies in ``[LOWEST_S * GROWTH**(i-1), LOWEST_S * GROWTH**i)``: 10 us to 10.5 s.
Bucket 0 holds faster requests. The last bucket, `OVERFLOW`, holds slower ones, and every request that failed or timed
out, as if it had taken for ever. So fast failures do not look good.

A histogram is ``int64[NUM_BUCKETS]``. A latency *threshold* is the upper edge of a bucket, named by its index. So
"slower than the threshold" is a sum of whole buckets. And (1 + delta) times a threshold is again a threshold whenever
1 + delta is a power of the growth (see `tolerance_buckets`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from divisions.errors import ReportError

GROWTH = 1.02
LOWEST_S = 10e-6
FINITE_BUCKETS = 700
OVERFLOW = FINITE_BUCKETS + 1
NUM_BUCKETS = OVERFLOW + 1

Counts: TypeAlias = npt.NDArray[np.int64]

_LN_GROWTH = math.log(GROWTH)
_LN_LOWEST = math.log(LOWEST_S)


def empty() -> Counts:
    return np.zeros(NUM_BUCKETS, dtype=np.int64)


def bucket_indices(values_s: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The bucket of each latency.

    Args:
        values_s: latencies in seconds, any shape. Infinity and NaN mean failed; both go to `OVERFLOW`.

    Returns:
        Indices of the same shape, from 0 to `OVERFLOW`.
    """
    values = np.asarray(values_s, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        position = np.floor((np.log(values) - _LN_LOWEST) / _LN_GROWTH) + 1.0
    # The log of a negative is NaN too, but a clock that steps back must not look like a failure.
    position = np.where(values <= 0.0, 0.0, position)
    position = np.where(np.isnan(position), float(OVERFLOW), position)
    indices: npt.NDArray[np.int64] = np.clip(position, 0.0, float(OVERFLOW)).astype(np.int64)
    return indices


def count(values_s: npt.NDArray[Any]) -> Counts:
    """The histogram of latencies in seconds."""
    return np.bincount(bucket_indices(values_s).ravel(), minlength=NUM_BUCKETS).astype(np.int64)


def to_sparse(counts: Counts) -> dict[int, int]:
    """The buckets that are not empty, as a report carries them."""
    (filled,) = np.nonzero(counts)
    return {int(index): int(counts[index]) for index in filled}


def from_sparse(buckets: Mapping[int, int]) -> Counts:
    """The histogram of a report.

    Raises:
        ReportError: a bucket does not exist, or a count is negative.
    """
    counts = empty()
    for index, number in buckets.items():
        if not 0 <= index < NUM_BUCKETS or number < 0:
            raise ReportError(
                f"a report counts {number} requests in bucket {index} of {NUM_BUCKETS}",
                remedy="gateways and the controller must run the same release",
            )
        counts[index] = number
    return counts


def merge(*histograms: Counts) -> Counts:
    """The histogram of all requests together."""
    merged = empty()
    for counts in histograms:
        merged += counts
    return merged


def edge_s(index: int) -> float:
    """The upper edge of a bucket: the threshold that the index names. Infinite for `OVERFLOW`."""
    return math.inf if index >= OVERFLOW else LOWEST_S * GROWTH**index


def exceeding(counts: Counts, threshold: int) -> int:
    """How many requests were slower than the threshold (failures always are)."""
    return int(counts[threshold + 1 :].sum())


def quantile_index(counts: Counts, quantile: float) -> int:
    """The first bucket at or below which at least the share ``quantile`` of the requests lies; 0 if there are none."""
    cumulative = np.cumsum(counts)
    wanted = max(1, math.ceil(quantile * int(cumulative[-1]) - 1e-9))
    return int(np.searchsorted(cumulative, wanted)) if cumulative[-1] else 0


def quantile_s(counts: Counts, quantile: float) -> float:
    """A quantile in seconds, within 1 % of the true one; infinite if it failed, NaN if there were no requests."""
    if not counts.any():
        return math.nan
    index = quantile_index(counts, quantile)
    return math.inf if index >= OVERFLOW else edge_s(index) / math.sqrt(GROWTH)


def tolerance_buckets(tolerance: float) -> int:
    """How many buckets ``1 + tolerance`` spans, rounded to whole ones: 5 for the default of 10.4 %."""
    return round(math.log1p(tolerance) / _LN_GROWTH)
