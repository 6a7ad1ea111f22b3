import numpy as np
import onnx
import pytest
import torch

from divisions.errors import TrainingError
from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels
from trainers.export.onnx_export import check_parity, export_onnx, parity_rows, score
from trainers.training.model import build_model


@pytest.fixture(scope="module")
def model():
    rows, _ = rows_and_labels()
    return build_model(SCHEMA, rows, HYPERPARAMS).eval()


@pytest.fixture(scope="module")
def model_onnx(model):
    return export_onnx(model, SCHEMA, {"run_id": "r-1", "schema_sha256": SCHEMA.sha256})


def test_the_graph_takes_rows_of_any_number_and_gives_scores(model_onnx):
    graph = onnx.load_from_string(model_onnx).graph
    (given,), (made,) = graph.input, graph.output
    assert (given.name, made.name) == ("rows", "scores")
    assert [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim] == ["batch", 4]
    assert [dim.dim_param for dim in made.type.tensor_type.shape.dim] == ["batch"]
    assert given.type.tensor_type.elem_type == made.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_the_file_is_self_contained_and_has_its_metadata(model_onnx):
    model = onnx.load_from_string(model_onnx)
    assert not [one.name for one in model.graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL]
    assert {prop.key: prop.value for prop in model.metadata_props} == {"run_id": "r-1", "schema_sha256": SCHEMA.sha256}


def test_the_graph_gives_what_the_model_gives(model, model_onnx):
    rows, _ = rows_and_labels(seed=1)
    assert 0.0 <= check_parity(model, SCHEMA, model_onnx, rows, seed=0) <= 1e-5


def test_a_row_scores_the_same_alone_and_in_any_batch(model_onnx):
    rows = parity_rows(SCHEMA, np.random.default_rng(1), num_random=20)
    together = score(model_onnx, rows)
    for batch_size in (1, 3, 16):
        assert np.allclose(score(model_onnx, rows, batch_size), together, atol=1e-6)
    assert score(model_onnx, rows[:0]).shape == (0,)


def test_parity_is_checked_on_extremes_missing_values_and_categories_that_do_not_exist():
    rows = parity_rows(SCHEMA, np.random.default_rng(0))
    assert np.nanmax(rows) > 2e38
    assert np.nanmin(rows) < -2e38
    assert np.isnan(rows).all(axis=1).any()
    assert set(np.arange(6.0)) <= set(rows[:, 1].tolist())


def test_a_graph_of_other_weights_is_refused(model, model_onnx):
    other = build_model(SCHEMA, rows_and_labels()[0], HYPERPARAMS).eval()
    with torch.no_grad():
        other.head.bias += 0.01
    with pytest.raises(TrainingError, match="differs from the trained model by"):
        check_parity(other, SCHEMA, model_onnx, rows_and_labels()[0], seed=0)


def test_a_graph_that_gives_no_probabilities_is_refused(model):
    class Raw(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, rows):
            return self.inner.logits(rows) * 10.0

    with pytest.raises(TrainingError, match="not a probability"):
        check_parity(model, SCHEMA, export_onnx(Raw(), SCHEMA, {}), rows_and_labels()[0], seed=0)
