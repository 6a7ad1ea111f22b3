import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.outcomes.quality import MIN_EACH, quality
from trainers.training.evaluate import auc, calibration_error

SEPARATION = 1.0
TRUE_AUC = 0.7602499389065233
"""Of two normal distributions one deviation apart: Φ(1/√2)."""


def sample(rng: np.random.Generator, rows: int, positive: float = 0.3):
    labels_N = (rng.random(rows) < positive).astype(float)
    return labels_N, 1 / (1 + np.exp(-rng.normal(labels_N * SEPARATION - 1.3, 1.0)))


@given(st.integers(0, 1_000), st.integers(50, 300))
def test_the_estimates_are_those_of_the_hold_out_and_lie_within_their_intervals(seed, rows):
    labels_N, scores_N = sample(np.random.default_rng(seed), rows)
    found = quality("3.1", "2026-01", labels_N, scores_N)
    assert (found.predictions, found.positives) == (rows, int(labels_N.sum()))
    if found.auc is None:
        assert min(labels_N.sum(), rows - labels_N.sum()) < MIN_EACH
        return
    assert found.auc == pytest.approx(auc(labels_N, scores_N))
    assert found.calibration_error == pytest.approx(calibration_error(labels_N, scores_N))
    assert 0 < found.lower <= found.auc <= found.upper < found.worst_case < 1
    mirrored = quality("3.1", "", 1 - labels_N, 1 - scores_N)
    assert (mirrored.auc, mirrored.lower) == (pytest.approx(found.auc), pytest.approx(found.lower))


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(7)
    held = worst = 0
    for _ in range(500):
        found = quality("3.1", "", *sample(rng, 400))
        held += found.lower <= TRUE_AUC <= found.upper
        worst += found.worst_case >= TRUE_AUC
    assert 0.92 <= held / 500 <= 0.98
    assert worst >= 496, "an alert is one time in a thousand"


@pytest.mark.parametrize("labels", [[], [1.0] * 50, [0.0] * 50, [1.0] * 9 + [0.0] * 50])
def test_too_few_outcomes_of_one_kind_tell_nothing(labels):
    found = quality("3.1", "", np.array(labels), np.full(len(labels), 0.5))
    assert (found.auc, found.worst_case, found.calibration_error) == (None, None, None)


def test_a_perfect_and_a_constant_score_have_intervals():
    labels_N = np.array([0.0] * 50 + [1.0] * 50)
    perfect = quality("3.1", "", labels_N, labels_N)
    assert (perfect.auc, perfect.calibration_error) == (1.0, 0.0)
    assert 0.9 < perfect.lower <= 1.0
    assert quality("3.1", "", labels_N, np.full(100, 0.5)).auc == 0.5
