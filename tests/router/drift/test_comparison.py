"""One histogram against its reference: the index, the level, and what is too little to tell from."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, ncx2, norm

from router.drift.comparison import MIN_ROWS, compare, ln_normal_tail, ln_tail

SHARES = np.array([0.1] * 9 + [0.08, 0.02])


@given(st.integers(0, 2**31), st.sampled_from([1_000, 5_000, 20_000]))
@settings(max_examples=40, deadline=None)
def test_two_samples_of_one_distribution_do_not_differ(seed, num_rows):
    random = np.random.default_rng(seed)
    found = compare(
        random.multinomial(20_000, SHARES).astype(float), random.multinomial(num_rows, SHARES).astype(float), 0.0
    )
    assert found.ln_p > math.log(1e-7)
    assert found.psi < 0.1


def test_levels_are_kept_on_average():
    random = np.random.default_rng(4)
    reference = random.multinomial(50_000, SHARES, size=4_000).astype(float)
    new = random.multinomial(2_000, SHARES, size=4_000).astype(float)
    found = [compare(r, n, 0.0).ln_p for r, n in zip(reference, new, strict=True)]
    for level in (0.1, 0.01):
        share = np.mean(np.array(found) < math.log(level))
        assert 0.4 * level < share < 1.5 * level


def test_a_difference_within_the_tolerance_is_not_refuted_by_many_rows():
    reference, new = np.array([500_000.0, 500_000.0]), np.array([520_000.0, 480_000.0])
    assert compare(reference, new, 0.0).ln_p < -100
    assert compare(reference, new, 0.01).ln_p > math.log(0.5)
    assert compare(reference, new, 0.01).psi == pytest.approx(0.0016, rel=0.02)


def test_a_value_that_was_never_seen_is_a_great_difference():
    found = compare(np.array([10_000.0, 10_000.0, 0.0]), np.array([0.0, 0.0, 2_000.0]), 0.1)
    assert found.psi > 1
    assert found.ln_p < -100


@pytest.mark.parametrize("sizes", [(MIN_ROWS - 1, 5_000), (5_000, MIN_ROWS - 1)])
def test_too_few_rows_on_either_side_tell_nothing(sizes):
    assert compare(np.array([sizes[0], 0.0]), np.array([0.0, sizes[1]]), 0.0) is None
    assert compare(np.array([sizes[0] + 1, 0.0]), np.array([0.0, sizes[1] + 1]), 0.0) is not None


def test_one_bin_cannot_differ():
    found = compare(np.array([5_000.0, 3.0]), np.array([1_000.0, 0.0]), 0.0)
    assert compare(np.array([5_000.0]), np.array([1_000.0]), 0.0).ln_p == 0.0
    assert found.ln_p > math.log(0.01)


def test_thin_bins_are_judged_together():
    """Forty bins with a row each are one bin of forty rows: each alone would be noise."""
    reference = np.array([9_960.0] + [1.0] * 40)
    new = np.array([996.0] + [0.1] * 40)
    assert compare(reference, new, 0.0).ln_p > math.log(0.5)
    assert compare(reference, np.array([900.0] + [2.5] * 40), 0.0).ln_p < math.log(1e-9)


@given(st.integers(1, 60), st.floats(0.0, 500.0), st.floats(0.001, 8.0))
@settings(max_examples=200, deadline=None)
def test_the_tail_is_never_far_too_small(freedom, noncentrality, deviations):
    spread = math.sqrt(2 * (freedom + 2 * noncentrality))
    value = freedom + noncentrality + deviations * spread
    exact = ncx2.logsf(value, freedom, noncentrality) if noncentrality else chi2.logsf(value, freedom)
    if math.isfinite(exact) and exact > -60:
        assert ln_tail(value, freedom, noncentrality) > exact - 0.6
        assert ln_tail(value, freedom, noncentrality) < exact + 0.35 * abs(exact) + 0.3


@pytest.mark.parametrize("z", [-8.0, -1.0, 0.0, 3.0, 29.9, 30.1, 100.0])
def test_the_tail_of_a_normal_variable_is_right_far_out(z):
    assert ln_normal_tail(z) == pytest.approx(norm.logsf(z), rel=2e-3, abs=1e-12)
