"""The stability index: the formula of the module's docstring, and how bins are pooled."""

import math

import numpy as np
import pytest

from divisions.stability import corrected_psi, null_mean, pool


def test_the_index_is_the_formula_with_half_a_row_more_in_each_bin():
    reference, new = (60, 30, 10), (20, 20, 10)
    p = [(count + 0.5) / (100 + 1.5) for count in reference]
    q = [(count + 0.5) / (50 + 1.5) for count in new]
    psi = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    expected = psi - 2 * (1 / 100 + 1 / 50)
    assert corrected_psi(reference, new) == (pytest.approx(expected), 3)
    assert null_mean(3, 100, 50) == pytest.approx(0.06)


def test_thin_bins_are_pooled_into_one():
    assert pool((5, 4, 2, 0), (1, 2, 3, 4)) == [(5, 1), (6, 9)]
    assert pool((5, 0), (3, 0)) == [(5, 3)], "an empty pool is no bin"
    assert pool((5, 0), (3, 1)) == [(5, 3), (0, 1)]
    assert pool((5, 4), (3, 0)) == [(5, 3), (4, 0)]


def test_without_drift_the_corrected_index_is_about_zero_on_average():
    generator = np.random.default_rng(0)
    found = []
    for _ in range(300):
        reference, new = (np.bincount(generator.integers(0, 20, size), minlength=20) for size in (1_000, 500))
        found.append(corrected_psi(reference.tolist(), new.tolist())[0])
    assert abs(np.mean(found)) < 0.005


@pytest.mark.parametrize(("reference", "new"), [((0, 0), (1, 1)), ((1, 1), (0, 0))])
def test_a_side_without_rows_cannot_be_compared(reference, new):
    with pytest.raises(ValueError, match="rows on both sides"):
        corrected_psi(reference, new)


def test_counts_of_other_bins_cannot_be_compared():
    with pytest.raises(ValueError, match="shorter"):
        pool((1, 2), (3,))
