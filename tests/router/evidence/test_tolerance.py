"""The canary's threshold for each of stable's: never lower than stable's, and in the same order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evidence.histogram import (
    FINITE_BUCKETS,
    GROWTH,
    NUM_BUCKETS,
    OVERFLOW,
    bucket_indices,
    edge_s,
    tolerance_buckets,
)
from router.evidence.tolerance import tolerance_of

shares = st.floats(0.001, 4.0)
times_ms = st.floats(0.0, 60_000.0)


@given(shares, times_ms)
def test_the_map_rises_and_never_asks_for_more_than_stable_does(share, extra_ms):
    tolerance = tolerance_of(share, extra_ms)
    for limits in (tolerance.once, tolerance.twice):
        assert limits.shape == (NUM_BUCKETS,)
        assert (np.diff(limits) >= 0).all()
        assert (limits >= np.arange(NUM_BUCKETS)).all()
        assert ((limits <= FINITE_BUCKETS) | (limits == OVERFLOW)).all()
    assert (tolerance.twice >= tolerance.once).all()


@given(shares)
def test_without_a_time_it_is_the_share_alone(share):
    index = np.arange(NUM_BUCKETS)
    for limits, times in zip((tolerance_of(share, 0.0).once, tolerance_of(share, 0.0).twice), (1, 2), strict=True):
        wanted = index + times * tolerance_buckets(share)
        assert (limits == np.where(wanted <= FINITE_BUCKETS, wanted, OVERFLOW)).all()


@given(shares, shares, times_ms, times_ms)
def test_tolerating_more_never_lowers_a_threshold(share, other, extra_ms, other_ms):
    less = tolerance_of(min(share, other), min(extra_ms, other_ms))
    more = tolerance_of(max(share, other), max(extra_ms, other_ms))
    assert (more.once >= less.once).all()


@pytest.mark.parametrize("extra_ms", [0.1, 0.2, 1.0])
def test_fast_requests_may_take_the_time_longer_and_slow_ones_the_share(extra_ms):
    limits = tolerance_of(0.104, extra_ms).once
    for stable_ms in (0.02, 0.3, 0.9, 2.0, 10.0, 500.0):
        at = int(bucket_indices(np.array([stable_ms / 1e3]))[0])
        allowed_s = max(1.02**5 * edge_s(at), edge_s(at) + extra_ms / 1e3)
        assert allowed_s * 0.9999 <= edge_s(int(limits[at])) <= allowed_s * 1.0201


@pytest.mark.parametrize(("share", "extra_ms"), [(0.104, 0.2), (0.104, 0.0), (0.5, 3.0), (0.02, 10.0)])
def test_it_is_the_larger_of_a_share_and_a_time(share, extra_ms):
    tolerance = tolerance_of(share, extra_ms)
    for index in range(0, 600, 37):
        stable_s = edge_s(index)
        allowed_s = max(stable_s * GROWTH ** tolerance_buckets(share), stable_s + extra_ms / 1e3)
        found_s = edge_s(int(tolerance.once[index]))
        assert allowed_s * (1 - 1e-6) <= found_s <= allowed_s * GROWTH
