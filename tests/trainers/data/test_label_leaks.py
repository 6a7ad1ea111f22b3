"""How well one feature tells the label: compared with counting pairs, and with planted leaks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data.label_leaks import LEAK_AUC, ranking_auc, single_feature_auc

ROWS = st.lists(st.tuples(st.integers(-3, 3) | st.just(math.nan), st.booleans()), min_size=1, max_size=40)


def columns(rows):
    return np.array([value for value, _ in rows], dtype=float), np.array([label for _, label in rows])


@given(ROWS)
def test_the_auc_is_the_share_of_pairs_in_the_right_order(rows):
    rows = [(value, label) for value, label in rows if value == value]  # noqa: PLR0124  # NaN
    values, labels = columns(rows)
    pairs = [(p, n) for p, one in rows if one for n, other in rows if not other]
    if not pairs:
        assert math.isnan(ranking_auc(values, labels.astype(bool)))
        return
    expected = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)
    assert ranking_auc(values, labels) == pytest.approx(expected)


@given(ROWS, st.booleans())
def test_it_lies_between_guessing_and_one_or_is_unknown(rows, is_category):
    values, labels = columns(rows)
    auc = single_feature_auc(values, labels, is_category=is_category)
    assert math.isnan(auc) == (len(set(labels.tolist())) < 2)
    assert math.isnan(auc) or 0.5 <= auc <= 1.0


RNG = np.random.default_rng(7)
LABELS = RNG.random(4_000) < 0.2
NOISE = RNG.normal(size=4_000)


@pytest.mark.parametrize(
    ("values", "is_category"),
    [
        (np.where(LABELS, 5.0, 1.0), False),
        (np.where(LABELS, 1.0, 5.0) + NOISE / 10, False),
        (np.where(LABELS, math.nan, NOISE), False),
        (np.where(LABELS, NOISE, math.nan), False),
        (np.where(LABELS, 3.0, np.arange(4_000) % 3), True),
        (np.where(LABELS, math.nan, 1.0), True),
        (np.where(LABELS, 7.0, np.arange(4_000) % 7), True),
    ],
)
def test_a_column_that_nearly_is_the_label_is_found(values, is_category):
    assert single_feature_auc(values, LABELS, is_category=is_category) > LEAK_AUC


@pytest.mark.parametrize("num_categories", [1, 10, 1_000, 4_000])
def test_categories_that_tell_nothing_are_not_taken_for_the_label(num_categories):
    codes = RNG.permutation(4_000) % num_categories
    assert single_feature_auc(codes.astype(float), LABELS, is_category=True) < 0.6
