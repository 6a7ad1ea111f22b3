"""Calibration: a known error is found again, chance is not taken for one, and bad input is one line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels
from trainers.training.calibration import Calibration, fit_calibration, sigmoid
from trainers.training.evaluate import auc, calibration_error
from trainers.training.model import build_model, logits_of


def drawn(num_rows, seed=0):
    """Logits, and labels that follow their probabilities exactly as they say."""
    rng = np.random.default_rng(seed)
    logits_N = rng.normal(-1.0, 2.0, num_rows)
    return logits_N, (rng.random(num_rows) < sigmoid(logits_N)).astype(np.float32)


@pytest.mark.parametrize(("slope", "offset"), [(3.0, 0.0), (0.4, 0.0), (1.0, 1.5), (0.5, -2.0)])
def test_a_known_error_is_found_again_and_undone(slope, offset):
    true_N, labels_N = drawn(20_000)
    wrong_N = slope * true_N + offset
    found = fit_calibration(wrong_N, labels_N)
    assert found.note == ""
    assert found.slope == pytest.approx(1.0 / slope, rel=0.05)
    assert found.offset == pytest.approx(-offset / slope, abs=0.05)
    right_N = sigmoid(found.slope * wrong_N + found.offset)
    assert calibration_error(labels_N, right_N) < 0.015 < calibration_error(labels_N, sigmoid(wrong_N))
    assert auc(labels_N, right_N) == auc(labels_N, wrong_N)


def test_the_fit_is_the_best_of_all_neighbours():
    logits_N, labels_N = drawn(500)
    logits_N = 2.5 * logits_N + 0.5
    found = fit_calibration(logits_N, labels_N)
    high, low = (labels_N.sum() + 1) / (labels_N.sum() + 2), 1 / (len(labels_N) - labels_N.sum() + 2)
    targets_N = np.where(labels_N > 0.5, high, low)

    def loss(slope, offset):
        scores_N = sigmoid(slope * logits_N + offset)
        return -(targets_N * np.log(scores_N) + (1 - targets_N) * np.log1p(-scores_N)).sum()

    best = loss(found.slope, found.offset)
    for slope, offset in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        assert loss(found.slope + slope, found.offset + offset) > best


def test_a_calibrated_model_is_left_alone_in_nineteen_of_twenty_cases():
    changed = sum(fit_calibration(*drawn(400, seed)).note == "" for seed in range(300))
    assert 5 <= changed <= 30  # 15 on average


@pytest.mark.parametrize(
    ("logits", "labels", "why"),
    [
        ([], [], "0 validation rows are positive and 0 negative"),
        ([0.1] * 40, [1.0] * 40, "40 validation rows are positive and 0 negative, at least 10"),
        (np.linspace(-1, 1, 28), [0.0] * 19 + [1.0] * 9, "9 validation rows are positive and 19 negative"),
        ([0.3] * 40, [0.0, 1.0] * 20, "the same probability"),
        ([math.nan] + [0.3] * 39, [0.0, 1.0] * 20, "no number for some"),
        ([math.inf] + [0.3] * 39, [0.0, 1.0] * 20, "no number for some"),
        (np.linspace(3, -3, 40), [0.0] * 20 + [1.0] * 20, "higher scores are not more often positive"),
    ],
)
def test_what_cannot_be_calibrated_stays_and_says_why_in_one_line(logits, labels, why):
    found = fit_calibration(np.asarray(logits, np.float64), np.asarray(labels, np.float64))
    assert (found.slope, found.offset) == (1.0, 0.0)
    assert why in found.note
    assert str(found) == found.note
    assert "\n" not in found.note


@given(
    logits=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=24, max_size=60),
    flips=st.integers(0, 2**60 - 1),
)
def test_any_logits_give_finite_numbers_and_keep_the_order(logits, flips):
    labels_N = np.array([flips >> i & 1 for i in range(len(logits))], np.float32)
    found = fit_calibration(np.asarray(logits, np.float32), labels_N)
    assert math.isfinite(found.slope)
    assert math.isfinite(found.offset)
    assert found.slope > 0.0


def test_rows_that_the_logits_separate_stay_finite():
    found = fit_calibration(np.linspace(-2, 2, 40), np.repeat([0.0, 1.0], 20))
    assert found.note == ""
    assert 1.0 < found.slope < 100.0
    assert str(found).startswith("logit to ")


def test_the_model_takes_a_calibration_into_its_weights():
    rows_NF, _ = rows_and_labels(50)
    model = build_model(SCHEMA, rows_NF, HYPERPARAMS)
    before_N = logits_of(model, rows_NF)
    model.recalibrate(0.5, -2.0)
    np.testing.assert_allclose(logits_of(model, rows_NF), 0.5 * before_N - 2.0, atol=1e-5)
    assert logits_of(model, rows_NF[:0]).shape == (0,)
    assert Calibration() == Calibration(1.0, 0.0, "")
