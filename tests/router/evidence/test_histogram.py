"""Histograms are right to their bucket, merge by addition, and put failures last."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from divisions.errors import ReportError
from router.evidence import histogram

latencies = npst.arrays(np.float64, st.integers(1, 200), elements=st.floats(1e-6, 60.0))
in_range = npst.arrays(np.float64, st.integers(1, 200), elements=st.floats(2e-5, 10.0))


@given(latencies)
def test_each_latency_lies_between_the_edges_of_its_bucket(values_s):
    for value, index in zip(values_s, histogram.bucket_indices(values_s), strict=True):
        assert value <= histogram.edge_s(int(index)) * (1 + 1e-9)
        if index > 0:
            assert value >= histogram.edge_s(int(index) - 1) * (1 - 1e-9)


@given(latencies, latencies)
def test_merging_is_the_same_as_counting_together(first_s, second_s):
    merged = histogram.merge(histogram.count(first_s), histogram.count(second_s))
    assert np.array_equal(merged, histogram.count(np.concatenate([first_s, second_s])))


@given(in_range, st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_right_to_two_percent(values_s, quantile):
    exact = float(np.quantile(values_s, quantile, method="inverted_cdf"))
    assert histogram.quantile_s(histogram.count(values_s), quantile) == pytest.approx(exact, rel=0.011)


@given(latencies)
def test_a_report_carries_the_histogram_unchanged(values_s):
    counts = histogram.count(values_s)
    assert np.array_equal(histogram.from_sparse(histogram.to_sparse(counts)), counts)


@given(in_range, st.integers(0, histogram.FINITE_BUCKETS))
def test_exceeding_counts_what_is_slower_than_the_threshold(values_s, threshold):
    slower = int((histogram.bucket_indices(values_s) > threshold).sum())
    assert histogram.exceeding(histogram.count(values_s), threshold) == slower


@pytest.mark.parametrize("failed", [math.inf, math.nan, 1e9])
def test_failures_are_slower_than_every_threshold(failed):
    counts = histogram.count(np.array([failed]))
    assert counts[histogram.OVERFLOW] == 1
    assert histogram.exceeding(counts, histogram.FINITE_BUCKETS) == 1
    assert histogram.quantile_s(counts, 0.5) == math.inf


@pytest.mark.parametrize("tiny", [0.0, -1.0, 1e-9])
def test_impossible_and_tiny_latencies_count_as_fastest(tiny):
    assert histogram.bucket_indices(np.array([tiny]))[0] == 0


def test_the_default_tolerance_is_five_buckets():
    assert histogram.tolerance_buckets(0.104) == 5
    assert histogram.edge_s(105) == pytest.approx(histogram.edge_s(100) * 1.104, rel=1e-3)


def test_the_range_is_ten_microseconds_to_over_ten_seconds():
    assert histogram.edge_s(0) == pytest.approx(10e-6)
    assert 10.0 < histogram.edge_s(histogram.FINITE_BUCKETS) < 11.0


def test_quantile_of_nothing_is_unknown():
    assert math.isnan(histogram.quantile_s(histogram.empty(), 0.5))


@pytest.mark.parametrize("buckets", [{-1: 3}, {histogram.NUM_BUCKETS: 3}, {5: -1}])
def test_a_report_that_makes_no_sense_is_refused(buckets):
    with pytest.raises(ReportError):
        histogram.from_sparse(buckets)


@pytest.mark.parametrize(
    ("quantile", "index"), [(0.0, 10), (0.25, 10), (0.2501, 20), (0.5, 20), (0.75, 30), (0.76, 40), (1.0, 40)]
)
def test_a_quantile_is_the_first_bucket_with_enough_requests_below_it(quantile, index):
    counts = histogram.empty()
    counts[[10, 20, 30, 40]] = 1
    assert histogram.quantile_index(counts, quantile) == index
    assert histogram.quantile_index(histogram.empty(), quantile) == 0


def test_a_quantile_in_seconds_is_the_middle_of_its_bucket():
    counts = histogram.empty()
    counts[200] = 5
    assert histogram.quantile_s(counts, 0.5) == pytest.approx(histogram.edge_s(200) / math.sqrt(histogram.GROWTH))


def test_failed_requests_count_in_a_quantile():
    counts = histogram.empty()
    counts[10], counts[histogram.OVERFLOW] = 1, 1
    assert histogram.quantile_index(counts, 0.5) == 10
    assert histogram.quantile_index(counts, 0.51) == histogram.OVERFLOW
    counts[10] = 0
    assert histogram.quantile_index(counts, 0.5) == histogram.OVERFLOW
