"""The smallest slow-down that traffic can show: less with more traffic, and none without."""

import math

import numpy as np
import pytest

from router.evidence.detectable import min_detectable_ratio
from router.evidence.histogram import count
from router.evidence.quantiles import MIN_REFERENCE
from router.evidence.tolerance import tolerance_of

GENERATOR = np.random.default_rng(0)
REFERENCE = count(GENERATOR.lognormal(math.log(0.002), 0.5, 30_000))
LIMITS = tolerance_of(0.104, 0.2).once
LN_THRESHOLD = math.log(100)


def found(stable_per_s=800.0, canary_per_s=200.0, within_s=60.0, reference=REFERENCE, **changes):
    return min_detectable_ratio(reference, stable_per_s, canary_per_s, LIMITS, LN_THRESHOLD, within_s, **changes)


def test_a_thousand_requests_a_second_show_a_fifth_in_a_minute():
    assert 1.1 < found() < 1.25


def test_more_traffic_more_time_and_less_clustering_show_more():
    assert found(80.0, 20.0) > found() > found(8_000.0, 2_000.0)
    assert found(within_s=20.0) > found() > found(within_s=600.0)
    assert found(correlations=np.full(6, 0.05)) > found()


@pytest.mark.parametrize(
    "nothing",
    [
        {"stable_per_s": 0.0},
        {"canary_per_s": 0.0},
        {"within_s": 0.0},
        {"reference": count(np.full(MIN_REFERENCE - 1, 0.002))},
        {"within_s": 2.0},  # the cap per second lets nothing be found so soon
    ],
    ids=str,
)
def test_without_traffic_or_time_nothing_can_be_shown(nothing):
    assert found(**nothing) is None


def test_the_least_reference_is_enough():
    assert found(reference=count(np.full(MIN_REFERENCE, 0.002))) is not None


def test_traffic_of_less_than_one_request_a_second_shows_something_in_time():
    assert found(0.9, 0.9, within_s=1e6) is not None
