"""Requests of one second that are slow together count as fewer; requests that are not, as many as they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from router.evidence.clustering import Clustering, design_effect
from router.evidence.histogram import NUM_BUCKETS, count
from router.evidence.quantiles import QUANTILES
from router.evidence.windows import RecentCounts, VersionCounts

histograms = npst.arrays(np.int64, NUM_BUCKETS, elements=st.integers(0, 3), fill=st.just(0))


def learned(seed, *, stall_share=0.0, stall_every=10, swing=0.0, ticks=120, requests=800):
    """Seconds in which now and then a share of the requests is slow at once, under a load that swings."""
    generator = np.random.default_rng(seed)
    clustering, recent = Clustering(), RecentCounts()
    for tick in range(ticks):
        values_s = (1 + swing * np.sin(tick / 20)) * generator.lognormal(-7, 0.5, requests)
        if tick % stall_every == 0:
            values_s[: int(stall_share * requests)] += 0.3
        counts = VersionCounts(requests, 0, count(values_s))
        clustering.add(recent.total(tick).counts, counts.counts)
        recent.add(tick, counts)
    return clustering.correlations()


@pytest.mark.parametrize("seed", range(5))
def test_independent_requests_count_fully_also_while_the_load_swings(seed):
    for swing in (0.0, 0.3):
        assert (design_effect(200, learned(seed, swing=swing)) < 1.3).all()


@pytest.mark.parametrize("seed", range(5))
def test_stalls_take_weight_from_far_quantiles_and_less_from_the_median(seed):
    effect = design_effect(800, learned(seed, stall_share=0.1))
    assert effect[0] < 2.5
    assert effect[QUANTILES.index(0.99)] > 3.0


@pytest.mark.parametrize("seed", range(3))
def test_one_terrible_second_does_not_make_the_guard_blind(seed):
    effect = design_effect(200, learned(seed, stall_share=0.9, stall_every=100))
    assert (effect < 2.0).all()


@given(st.lists(st.tuples(histograms, histograms), max_size=6), st.floats(0, 1e6))
def test_correlations_lie_between_none_and_one_and_no_request_ever_counts_more_than_once(seconds, requests):
    clustering = Clustering()
    for reference, counts in seconds:
        clustering.add(reference, counts)
    rho = clustering.correlations()
    assert rho.shape == (len(QUANTILES),)
    assert ((rho >= 0) & (rho <= 1)).all()
    assert (design_effect(requests, rho) >= 1).all()
