"""Challenger against champion: DeLong's interval against its definition, against resampling, and at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.training.evaluate import auc
from trainers.validation.comparison import Z_95, auc_gain


def naive(labels, new, old):
    """The variance from the definition: every positive against every negative."""

    def shares(scores):
        higher = scores[labels > 0.5][:, None] - scores[labels <= 0.5][None, :]
        wins = (higher > 0) + 0.5 * (higher == 0)
        return wins.mean(axis=1), wins.mean(axis=0)

    (new_p, new_n), (old_p, old_n) = shares(new), shares(old)
    variance = np.var(new_p - old_p, ddof=1) / len(new_p) + np.var(new_n - old_n, ddof=1) / len(new_n)
    return new_p.mean() - old_p.mean(), math.sqrt(variance)


@given(rows=st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=40))
def test_it_is_what_the_definition_says_with_ties(rows):
    labels, new, old = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    found = auc_gain(labels, new, old)
    if min(labels.sum(), (1 - labels).sum()) < 2:
        assert math.isnan(found.upper)
        return
    gain, spread = naive(labels, new, old)
    assert found.gain == pytest.approx(gain)
    assert found.challenger_auc == pytest.approx(auc(labels, new))
    assert found.champion_auc == pytest.approx(auc(labels, old))
    assert (found.lower, found.upper) == pytest.approx((gain - Z_95 * spread, gain + Z_95 * spread))


def customers(rng, num_rows, noise):
    labels = (rng.random(num_rows) < 0.3).astype(float)
    shared = labels + rng.normal(0, 1, num_rows)  # what is hard for one model is hard for the other
    return labels, shared + rng.normal(0, 0.3, num_rows), shared + rng.normal(0, noise, num_rows)


def test_the_interval_covers_no_difference_in_nineteen_of_twenty_samples():
    rng = np.random.default_rng(3)
    found = [auc_gain(*customers(rng, 300, 0.3)) for _ in range(400)]
    misses = sum(not each.lower <= 0.0 <= each.upper for each in found)
    assert 8 <= misses <= 36  # 20 on average


def test_the_interval_is_that_of_resampled_pairs():
    rng = np.random.default_rng(5)
    labels, new, old = customers(rng, 1_000, 0.9)
    found = auc_gain(labels, new, old)
    draws = [rng.integers(0, 1_000, 1_000) for _ in range(500)]
    gains = [auc(labels[draw], new[draw]) - auc(labels[draw], old[draw]) for draw in draws]
    assert (found.upper - found.lower) / 2 == pytest.approx(Z_95 * np.std(gains), rel=0.15)
    assert found.lower > 0.0, "a model with less noise is better, by more than chance"


def test_the_same_model_gains_nothing_for_certain():
    labels, new, _ = customers(np.random.default_rng(1), 100, 0.3)
    found = auc_gain(labels, new, new)
    assert (found.gain, found.lower, found.upper) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("labels", "new"),
    [([], []), ([1.0, 1.0], [0.1, 0.2]), ([0.0, 0.0], [0.1, 0.2]), ([0.0, 1.0], [0.1, math.nan])],
)
def test_rows_that_define_no_auc_give_no_number(labels, new):
    found = auc_gain(np.array(labels), np.array(new), np.array(new))
    assert all(math.isnan(each) for each in (found.gain, found.lower, found.upper))
