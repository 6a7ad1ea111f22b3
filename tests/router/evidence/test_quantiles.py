"""Thresholds: raised exactly as far as the odds say, and not at all where there is no gap."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from router.evidence.histogram import NUM_BUCKETS, count
from router.evidence.quantiles import QUANTILES, exceedance_rates, raised, threshold_indices

histograms = npst.arrays(np.int64, NUM_BUCKETS, elements=st.integers(0, 5), fill=st.just(0)).filter(np.any)
gaps = npst.arrays(np.float64, len(QUANTILES), elements=st.floats(0, 5))


@given(histograms)
def test_without_a_gap_no_threshold_moves(reference):
    at = threshold_indices(reference)
    assert (raised(reference, at, np.zeros(len(QUANTILES))) == at).all()


@given(histograms, gaps, gaps)
def test_a_wider_gap_never_lowers_a_threshold(reference, less, more):
    at = threshold_indices(reference)
    found = [raised(reference, at, each) for each in (np.minimum(less, more), np.maximum(less, more))]
    assert (at <= found[0]).all()
    assert (found[0] <= found[1]).all()
    assert (found[1] <= NUM_BUCKETS).all()


def test_a_gap_of_ln_2_halves_the_odds():
    reference = count(np.random.default_rng(0).lognormal(-7, 0.5, 200_000))
    at = threshold_indices(reference)[:5]
    before = exceedance_rates(reference, at)
    after = exceedance_rates(reference, raised(reference, at, np.full(5, np.log(2.0))))
    ratio = (after / (1 - after)) / (before / (1 - before))
    assert ((ratio <= 0.5) & (ratio > 0.44)).all()
