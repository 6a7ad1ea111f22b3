"""Trees as ONNX: the same probabilities, on every engine of ONNX Runtime, whatever the caller sends."""

import numpy as np
import onnx
import pytest

from divisions.errors import TrainingError
from divisions.pipeline.definition import BoostingHyperparams
from divisions.schema import Feature, FeatureKind, FeatureSchema
from tests.trainers.churn import SCHEMA, rows_and_labels, training_data
from trainers.export.onnx_export import PARITY_TOLERANCE, check_parity, score
from trainers.export.tree_export import export_trees
from trainers.training.boosting import fit_trees
from trainers.training.training_rows import TrainingData

ROWS, LABELS = rows_and_labels(200, seed=5)


def fitted(schema=SCHEMA, data=None):
    return fit_trees(schema, data or training_data(600), BoostingHyperparams(epochs=30), lambda *_: None)


@pytest.fixture(scope="module")
def trees():
    return fitted()


def test_graph_and_trees_give_the_same_probabilities(trees):
    model_onnx = export_trees(trees, SCHEMA, {"run_id": "r-1"})
    assert check_parity(trees, SCHEMA, model_onnx, ROWS, seed=1) <= PARITY_TOLERANCE
    graph = onnx.ModelProto.FromString(model_onnx)
    assert {one.key: one.value for one in graph.metadata_props} == {"run_id": "r-1"}
    assert [one.name for one in graph.graph.input] == ["rows"]
    assert [one.name for one in graph.graph.output] == ["scores"]
    assert score(model_onnx, ROWS[:0]).shape == (0,)


def test_other_trees_are_noticed(trees):
    other = export_trees(trees.first(3), SCHEMA, {})
    with pytest.raises(TrainingError, match="differs from the trained model"):
        check_parity(trees, SCHEMA, other, ROWS, seed=1)


def test_a_table_of_numbers_only_has_no_sets():
    schema = FeatureSchema((Feature("a", FeatureKind.NUMERIC), Feature("b", FeatureKind.NUMERIC)))
    rows = ROWS[:, [0, 2]]
    numbers = fitted(schema, TrainingData(rows[:150], LABELS[:150], rows[150:], LABELS[150:]))
    model_onnx = export_trees(numbers, schema, {})
    assert "Gather" not in {node.op_type for node in onnx.ModelProto.FromString(model_onnx).graph.node}
    assert check_parity(numbers, schema, model_onnx, rows, seed=1) <= PARITY_TOLERANCE


def test_missing_values_that_decided_in_training_decide_in_the_graph():
    rows, labels = rows_and_labels(600, seed=3)
    rng = np.random.default_rng(0)
    rows = np.where((rng.random(rows.shape) < 0.3) & (labels[:, None] > 0), np.nan, rows).astype(np.float32)
    holed = fitted(data=TrainingData(rows[:500], labels[:500], rows[500:], labels[500:]))
    model_onnx = export_trees(holed, SCHEMA, {})
    assert check_parity(holed, SCHEMA, model_onnx, rows, seed=1) <= PARITY_TOLERANCE
    assert holed.missing_left_D.any()
