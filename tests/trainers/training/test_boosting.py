"""Boosted trees: what they learn, how they take odd values, and that the same seed gives the same trees."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import TrainingError
from divisions.pipeline.definition import BoostingHyperparams
from divisions.schema import Feature, FeatureKind, FeatureSchema
from tests.trainers.churn import SCHEMA, rows_and_labels, training_data
from trainers.training.boosting import MAX_CATEGORIES, fit_trees
from trainers.training.evaluate import auc
from trainers.training.training_rows import TrainingData
from trainers.training.trees import BoostedTrees, float32_below

HYPERPARAMS = BoostingHyperparams(epochs=40, learning_rate=0.2, patience=5)


def fit(data=None, schema=SCHEMA, **changes):
    told = []
    data = training_data(600) if data is None else data
    trees = fit_trees(schema, data, replace(HYPERPARAMS, **changes), lambda tree, metrics: told.append((tree, metrics)))
    return trees, told


def test_trees_learn_and_stop_once_the_validation_loss_no_longer_falls():
    trees, told = fit()
    losses = [metrics["valid_loss"] for _, metrics in told]
    assert [tree for tree, _ in told] == list(range(len(told)))
    assert len(told) < HYPERPARAMS.epochs
    assert len(trees.root_T) == int(np.argmin(losses)) + 1 == len(told) - HYPERPARAMS.patience
    rows, labels = rows_and_labels(1_000, seed=9)
    assert auc(labels, trees.logits(rows)) > 0.9
    assert told[len(trees.root_T) - 1][1]["valid_auc"] > 0.85


def test_without_patience_every_tree_is_grown_and_the_best_ones_are_kept():
    trees, told = fit(patience=0)
    assert len(told) == HYPERPARAMS.epochs
    assert len(trees.root_T) == int(np.argmin([metrics["valid_loss"] for _, metrics in told])) + 1


def test_the_same_seed_gives_the_same_trees_and_another_one_gives_others():
    first, again, other = (fit(seed=seed)[0].arrays() for seed in (3, 3, 4))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert any(not np.array_equal(array, other[name]) for name, array in first.items())


def test_the_arrays_bring_the_same_trees_back_and_a_lack_is_told():
    trees, _ = fit()
    rows, _ = rows_and_labels(50, seed=2)
    np.testing.assert_array_equal(BoostedTrees.of_arrays(trees.arrays()).logits(rows), trees.logits(rows))
    arrays = {name: array for name, array in trees.arrays().items() if name != "root_T"}
    with pytest.raises(TrainingError, match="no root_T"):
        BoostedTrees.of_arrays(arrays)


def test_odd_codes_count_as_unknown_and_every_number_gives_a_logit():
    trees, _ = fit()
    rows = np.array([[200, code, 2, 1] for code in (0, -7, 99, 3e38)], np.float32)
    assert len(set(trees.logits(rows).tolist())) == 1
    extreme = np.array([[3e38] * 4, [-3e38] * 4, [np.nan] * 4], np.float32)
    assert np.isfinite(trees.logits(extreme)).all()


def test_recalibration_scales_and_shifts_every_logit():
    trees, _ = fit()
    rows, _ = rows_and_labels(50, seed=2)
    before = trees.logits(rows)
    trees.recalibrate(0.5, -2.0)
    np.testing.assert_allclose(trees.logits(rows), 0.5 * before - 2.0, atol=1e-9)


def test_a_column_with_more_categories_than_bins_is_learned_from():
    num = MAX_CATEGORIES + 200
    schema = FeatureSchema((Feature("shop", FeatureKind.CATEGORICAL, tuple(f"s{i:03}" for i in range(num))),))
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(1, 11, 3_000), np.arange(1, num + 1)]).astype(np.float32)
    rng.shuffle(codes)
    labels = (codes <= 5).astype(np.float32)
    data = TrainingData(codes[:3_000, None], labels[:3_000], codes[3_000:, None], labels[3_000:])
    trees, _ = fit(data, schema, max_features=1.0)
    assert auc(labels[3_000:], trees.logits(codes[3_000:, None])) > 0.99


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(40, np.float32), "all 40 customers to learn from have the same label"),
        (np.zeros(0, np.float32), "all 0 customers"),
    ],
)
def test_labels_that_nothing_can_be_learned_from_are_told(labels, words):
    rows, _ = rows_and_labels(len(labels) + 10)
    data = TrainingData(rows[: len(labels)], labels, rows[len(labels) :], np.array([0, 1] * 5, np.float32))
    with pytest.raises(TrainingError, match=words):
        fit(data)


@given(st.floats(allow_nan=False), st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_threshold_decides_every_number_as_the_float64_one(threshold, number):
    assert (np.float32(number) <= float32_below(threshold)) == (number <= threshold)
