"""Cross-validation of kinds: each customer is held out once in a repetition, and the figures are those of the rows."""

import numpy as np

from benchmarks.harness.machine import describe_machine
from benchmarks.lab import kinds
from benchmarks.lab.kinds import BASELINE, KindsResult, Table, cross_validate, fold_of, render_kinds
from benchmarks.lab.kinds_speed import BATCHES, measure_speed
from divisions.pipeline.definition import BoostingHyperparams
from tests.trainers.churn import SCHEMA, rows_and_labels

SMALL = BoostingHyperparams(epochs=20, learning_rate=0.2, patience=3)
ROWS, LABELS = rows_and_labels(400, seed=1)


def test_every_fold_has_its_share_of_both_labels():
    fold_N = fold_of(LABELS, 5, seed=3)
    sizes = [[int((LABELS[fold_N == fold] == label).sum()) for fold in range(5)] for label in (0, 1)]
    assert all(max(of_label) - min(of_label) <= 1 for of_label in sizes)
    assert sum(map(sum, sizes)) == len(LABELS)
    assert (fold_of(LABELS, 5, seed=3) == fold_N).all()
    assert (fold_of(LABELS, 5, seed=4) != fold_N).any()


def test_a_kind_stands_beside_the_baseline_on_the_same_folds(monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", (SMALL,))
    said = []
    rows = cross_validate(Table("churn", SCHEMA, ROWS, LABELS), 1, 1, 0, said.append)
    assert [row.kind for row in rows] == [BASELINE, "gradient_boosting"]
    baseline, ours = rows
    assert baseline.auc_gain == 0.0
    assert np.isclose(ours.auc_gain, ours.auc - baseline.auc)
    assert ours.customers == 400
    assert 0.8 < ours.auc <= 1.0
    assert 0.0 < ours.ece < 0.2
    assert 0.5 < ours.recall <= 1.0
    speed = measure_speed(SCHEMA, ROWS, LABELS, (SMALL,))
    assert [one.batch for one in speed] == list(BATCHES)
    text = render_kinds(KindsResult(describe_machine(), 0, rows, speed))
    assert f"{ours.auc:.4f}" in text
    assert "gradient_boosting" in text
