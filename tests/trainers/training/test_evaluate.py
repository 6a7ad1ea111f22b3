"""Metrics against their definitions, written out the slow way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.training.evaluate import auc, auc_lower_bound, calibration_error, evaluate, log_loss, threshold_metrics

# Few distinct scores, so that ties are frequent.
scored = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1.0])), min_size=1)


def arrays(pairs):
    labels, scores = zip(*pairs, strict=True)
    return np.array(labels, np.float32), np.array(scores, np.float64)


@given(scored)
def test_auc_is_the_share_of_pairs_in_the_right_order_with_ties_counting_half(pairs):
    positives = [score for label, score in pairs if label]
    negatives = [score for label, score in pairs if not label]
    measured = auc(*arrays(pairs))
    if not positives or not negatives:
        assert math.isnan(measured)
        return
    wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    assert measured == pytest.approx(wins / (len(positives) * len(negatives)))


@given(st.floats(0.0, 1.0), st.integers(1, 400), st.integers(1, 400))
def test_the_lower_bound_is_above_a_half_just_where_the_test_of_mann_and_whitney_rejects_guessing(area, m, n):
    bound = auc_lower_bound(area, m, n)
    assert 0.0 <= bound <= area
    deviations = (area - 0.5) / math.sqrt((m + n + 1) / (12 * m * n))
    if abs(deviations - 1.6448536) > 1e-6:
        assert (bound > 0.5) is (deviations > 1.6448536)


@pytest.mark.parametrize(("mean", "size"), [(0.0, 20), (1.0, 20), (2.0, 40), (0.5, 200)])
def test_the_lower_bound_is_below_the_truth_in_at_least_nineteen_of_twenty_samples(mean, size):
    rng = np.random.default_rng(5)
    truth = 0.5 * (1.0 + math.erf(mean / 2.0))  # of two normal distributions of variance 1
    labels = np.arange(size) % 4 == 0
    bounds = []
    for _ in range(2_000):
        area = auc(labels.astype(float), rng.normal(size=size) + mean * labels)
        bounds.append(auc_lower_bound(area, int(labels.sum()), int((~labels).sum())))
    covered = float(np.mean([bound <= truth for bound in bounds]))
    assert covered > 0.93
    if not mean:
        assert covered < 0.97


def test_a_lower_bound_grows_with_the_rows_and_is_unknown_with_the_auc():
    bounds = [auc_lower_bound(0.8, count, 3 * count) for count in (2, 10, 100, 10_000)]
    assert bounds == sorted(bounds)
    assert bounds[0] < 0.5 < bounds[1]
    assert bounds[-1] == pytest.approx(0.8, abs=0.01)
    assert auc_lower_bound(1.0, 5, 5) < 0.95
    assert math.isnan(auc_lower_bound(math.nan, 0, 5))


@given(scored)
def test_threshold_metrics_of_a_small_example(pairs):
    hits = sum(label and score >= 0.5 for label, score in pairs)
    predicted = sum(score >= 0.5 for _, score in pairs)
    positives = sum(label for label, _ in pairs)
    measured = threshold_metrics(*arrays(pairs))
    assert measured["accuracy"] == pytest.approx(sum(label == (score >= 0.5) for label, score in pairs) / len(pairs))
    assert measured["precision"] == pytest.approx(hits / predicted if predicted else math.nan, nan_ok=True)
    assert measured["recall"] == pytest.approx(hits / positives if positives else math.nan, nan_ok=True)
    if hits:
        precision, recall = hits / predicted, hits / positives
        assert measured["f1"] == pytest.approx(2 * precision * recall / (precision + recall))


@given(scored)
def test_calibration_error_is_the_weighted_gap_of_each_bin(pairs):
    error = 0.0
    for low in range(10):
        inside = [(label, s) for label, s in pairs if low / 10 <= s < (low + 1) / 10 or (low == 9 and s == 1.0)]
        if inside:
            gap = abs(np.mean([label for label, _ in inside]) - np.mean([s for _, s in inside]))
            error += len(inside) / len(pairs) * gap
    assert calibration_error(*arrays(pairs)) == pytest.approx(error, abs=1e-9)


def test_log_loss_of_certain_and_wrong_is_large_but_finite():
    assert log_loss(np.array([1.0, 0.0]), np.array([0.8, 0.4])) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert 10 < log_loss(np.array([1.0]), np.array([0.0])) < 20


def test_a_score_that_is_not_a_number_makes_metrics_unknown_rather_than_good():
    metrics = evaluate(np.array([0.0, 1.0, 1.0]), np.array([0.1, np.nan, 0.9]))
    assert all(math.isnan(metrics[name]) for name in ("auc", "precision", "recall", "accuracy", "calibration_error"))
