"""Thresholds: known answers, the best of all divisions by search, and one line for what cannot be divided."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.pipeline.definition import AtLeast, Cost, FixedThreshold, MaxF1
from trainers.training.evaluate import threshold_metrics
from trainers.validation.thresholds import Chosen, choose_threshold, sweep, why_no_sweep

LABELS = np.array([0, 0, 0, 1, 0, 1, 1, 1], np.float32)
SCORES = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.9], np.float32)


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        (MaxF1(), 0.25),  # precision 4/5 and recall 1: F1 0.889; at 0.5 it is 0.857
        (AtLeast("recall", 0.8), 0.25),
        (AtLeast("recall", 0.75), 0.5),
        (Cost(fp=1.0, fn=5.0), 0.25),
        (Cost(fp=5.0, fn=1.0), 0.5),
        (Cost(fp=100.0, fn=0.001), 0.5),
        (FixedThreshold(0.123), 0.123),
    ],
)
def test_each_rule_has_its_known_answer(rule, threshold):
    assert choose_threshold(rule, LABELS, SCORES) == Chosen(pytest.approx(threshold, abs=1e-6))


def test_nobody_is_flagged_if_that_costs_least_and_everybody_if_misses_cost_everything():
    labels, scores = np.array([1, 0, 0, 1]), np.array([0.2, 0.4, 0.6, 0.3])
    nobody = choose_threshold(Cost(fp=1_000.0, fn=1.0), labels, scores).threshold
    assert (scores < nobody).all()
    everybody = choose_threshold(Cost(fp=1.0, fn=1_000.0), labels, scores).threshold
    assert (scores >= everybody).all()
    sure = np.array([1.0, 1.0, 0.6, 0.3])  # no threshold is above a score of 1
    assert sweep(labels, sure).flagged_T.tolist() == [2.0, 3.0, 4.0]


def customers(num_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.random(num_rows).astype(np.float32)
    return (rng.random(num_rows) < scores).astype(np.float32), scores


def test_a_precision_is_reached_with_the_most_recall():
    labels, scores = customers()
    threshold = choose_threshold(AtLeast("precision", 0.8), labels, scores).threshold
    found = threshold_metrics(labels, scores, threshold)
    assert found["precision"] >= 0.8
    others = [threshold_metrics(labels, scores, each) for each in np.unique(scores)]
    assert found["recall"] == max(each["recall"] for each in others if each["precision"] >= 0.8)


def test_a_precision_out_of_reach_says_what_can_be_reached():
    labels, scores = customers()
    scores = scores * 0.5
    labels[np.argsort(scores)[-3:]] = 1.0  # the three highest alone do not count as precision 1
    labels[np.argsort(scores)[-9:-3]] = 0.0
    found = choose_threshold(AtLeast("precision", 0.99), labels, scores)
    assert found.note.startswith("precision >= 0.99 is out of reach on 400 validation rows, ")
    assert "the highest precision is 0.8" in found.note
    assert (scores >= found.threshold).sum() >= 10


RULES = st.one_of(
    st.just(MaxF1()),
    st.builds(AtLeast, st.sampled_from(["precision", "recall"]), st.floats(0.01, 1.0)),
    st.builds(Cost, st.floats(0.01, 100), st.floats(0.01, 100)),
)
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=40)


@given(rule=RULES, rows=ROWS)
def test_no_other_threshold_is_better(rule, rows):
    labels = np.array([label for label, _ in rows], np.float32)
    scores = np.array([score / 12 for _, score in rows], np.float32)
    chosen = choose_threshold(rule, labels, scores)
    if why := why_no_sweep(labels, scores):
        assert chosen.threshold == 0.5
        assert chosen.note.endswith(why)
        return

    def merit(threshold):
        found = threshold_metrics(labels, scores, threshold)
        flagged = scores >= threshold
        false_alarms, misses = (flagged & (labels == 0)).sum(), (~flagged & (labels == 1)).sum()
        match rule:
            case MaxF1():
                return found["f1"]
            case Cost(fp=fp, fn=fn):
                return -(fp * false_alarms + fn * misses)
            case AtLeast(metric="recall", value=value):
                return found["precision"] if found["recall"] >= value and flagged.any() else -1.0
            case AtLeast(value=value):
                if flagged.sum() < min(10, len(rows)):
                    return -1.0
                return found["recall"] if found["precision"] >= value else -1.0

    best = max(merit(each) for each in (*np.unique(scores), 0.99999 if scores.max() < 1 else 0.0))
    assert merit(chosen.threshold) == pytest.approx(best) or chosen.note


@given(rows=ROWS)
def test_thresholds_lie_between_the_scores_and_never_on_one(rows):
    labels = np.array([label for label, _ in rows], np.float32)
    scores = np.array([score / 12 for _, score in rows], np.float32)
    found = sweep(labels, scores)
    for threshold, flagged, hits in zip(found.threshold_T, found.flagged_T, found.hits_T, strict=True):
        assert ((scores >= threshold).sum(), labels[scores >= threshold].sum()) == (flagged, hits)
        assert threshold not in scores.astype(np.float64) or threshold == 0.0


@pytest.mark.parametrize(
    ("labels", "scores", "why"),
    [
        ([], [], "0 of 0 rows are positive, and both labels are needed"),
        ([0.0, 0.0], [0.1, 0.2], "0 of 2 rows are positive, and both labels are needed"),
        ([1.0, 1.0], [0.1, 0.2], "2 of 2 rows are positive, and both labels are needed"),
        ([1.0, 0.0], [0.1, math.nan], "the model gives no number for some rows"),
        ([1.0, 0.0], [0.25, 0.25], "the model gives all rows the same probability"),
    ],
)
def test_rows_that_no_threshold_divides_say_so_in_one_line(labels, scores, why):
    found = choose_threshold(AtLeast("recall", 0.8), np.array(labels), np.array(scores))
    assert found == Chosen(0.5, f"the decision threshold is 0.5, not recall >= 0.8: of the validation rows, {why}")
