"""Sparse histograms from afar at the edges of what they may say, and buckets at theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from divisions.errors import ReportError
from router.evidence.histogram import (
    FINITE_BUCKETS,
    GROWTH,
    LOWEST_S,
    NUM_BUCKETS,
    OVERFLOW,
    bucket_indices,
    count,
    edge_s,
    empty,
    exceeding,
    from_sparse,
    quantile_s,
    to_sparse,
    tolerance_buckets,
)


@pytest.mark.parametrize("index", [0, 1, OVERFLOW])
@pytest.mark.parametrize("number", [0, 1, 10**12])
def test_every_bucket_may_have_any_number(index, number):
    counts = from_sparse({index: number})
    assert (counts[index], counts.sum()) == (number, number)
    assert to_sparse(counts) == ({index: number} if number else {})


@pytest.mark.parametrize(("index", "number"), [(-1, 1), (NUM_BUCKETS, 1), (0, -1), (OVERFLOW, -1)])
def test_what_is_no_bucket_or_no_number_is_refused(index, number):
    with pytest.raises(ReportError):
        from_sparse({index: number})


def test_the_buckets_are_those_of_the_module():
    """Bucket i holds [LOWEST * GROWTH^(i-1), LOWEST * GROWTH^i): 10 us to 10.5 s, exact to 2 %."""
    assert (LOWEST_S, GROWTH, FINITE_BUCKETS) == (10e-6, 1.02, 700)
    assert (OVERFLOW, NUM_BUCKETS) == (701, 702)
    for index in (1, 2, 350, 700):
        low, high = LOWEST_S * GROWTH ** (index - 1), LOWEST_S * GROWTH**index
        assert bucket_indices(np.array([low * 1.001, high * 0.999])).tolist() == [index, index]
        assert edge_s(index) == pytest.approx(high)
    assert edge_s(FINITE_BUCKETS) == pytest.approx(10.5, rel=0.01)
    assert edge_s(OVERFLOW) == math.inf
    assert bucket_indices(np.array([0.0, -1.0, 1e-9, math.inf, math.nan, 1e9])).tolist() == [0, 0, 0, 701, 701, 701]


def test_what_exceeds_a_threshold_is_slower_than_its_bucket():
    counts = empty()
    counts[[10, 11, OVERFLOW]] = 3, 4, 5
    assert [exceeding(counts, at) for at in (9, 10, 11, OVERFLOW)] == [12, 9, 5, 0]


def test_a_quantile_is_the_middle_of_its_bucket():
    counts = empty()
    assert math.isnan(quantile_s(counts, 0.5))
    counts[[10, 20]] = 90, 10
    for quantile, index in ((0.0, 10), (0.9, 10), (0.91, 20), (1.0, 20)):
        assert quantile_s(counts, quantile) == pytest.approx(math.sqrt(edge_s(index - 1) * edge_s(index)))
    counts[OVERFLOW] = 100
    assert quantile_s(counts, 0.99) == math.inf


@pytest.mark.parametrize(("share", "buckets"), [(0.02, 1), (0.104, 5), (0.1, 5), (1.0, 35)])
def test_a_tolerance_is_rounded_to_powers_of_the_growth(share, buckets):
    assert tolerance_buckets(share) == buckets
    assert count(np.array([1.0])).sum() == 1
