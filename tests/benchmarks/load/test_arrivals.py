import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.arrivals import Arrivals, plan_arrivals


def test_constant_arrivals_are_one_interval_apart():
    arrivals_s = plan_arrivals(Arrivals.CONSTANT, 100.0, 2.0, np.random.default_rng(0))
    assert len(arrivals_s) == 200
    np.testing.assert_allclose(np.diff(arrivals_s), 0.01)


@given(rate=st.floats(1, 500), duration_s=st.floats(0.5, 20), seed=st.integers(0, 2**32))
def test_poisson_arrivals_rise_within_the_run_and_repeat_with_their_seed(rate, duration_s, seed):
    first = plan_arrivals(Arrivals.POISSON, rate, duration_s, np.random.default_rng(seed))
    again = plan_arrivals(Arrivals.POISSON, rate, duration_s, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, again)
    assert (np.diff(first) >= 0).all()
    assert ((first >= 0) & (first < duration_s)).all()


def test_poisson_gaps_are_exponential():
    arrivals_s = plan_arrivals(Arrivals.POISSON, 1_000.0, 100.0, np.random.default_rng(7))
    gaps_s = np.diff(arrivals_s)
    assert len(arrivals_s) == pytest.approx(100_000, rel=0.02)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.02)  # an exponential's mean is its deviation
    assert np.median(gaps_s) == pytest.approx(gaps_s.mean() * np.log(2), rel=0.02)


@pytest.mark.parametrize(("rate", "duration_s"), [(0, 1), (-1, 1), (10, 0)])
def test_a_plan_of_nothing_is_refused(rate, duration_s):
    with pytest.raises(ValueError, match="above 0"):
        plan_arrivals(Arrivals.POISSON, rate, duration_s, np.random.default_rng(0))
