import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import onnx
import pytest
import torch

from divisions.errors import TrainingError
from divisions.pipeline.definition import TabmHyperparams
from divisions.schema import Feature, FeatureKind, FeatureSchema
from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels
from trainers.export import onnx_export
from trainers.export.onnx_export import check_parity, export_onnx, parity_rows, score
from trainers.training import model as network
from trainers.training.model import TabularNet, build_model, numeric_statistics

TABM = TabmHyperparams(**{**asdict(HYPERPARAMS), "members": 4})


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


def test_a_graph_that_gives_no_probabilities_is_refused(model, model_onnx):
    logits = onnx.load_from_string(model_onnx)
    (last,) = [node for node in logits.graph.node if node.op_type == "Sigmoid"]
    last.op_type = "Identity"
    with pytest.raises(TrainingError, match="not a probability"):
        check_parity(model, SCHEMA, logits.SerializeToString(), rows_and_labels()[0], seed=0)


def test_exporting_needs_neither_the_compiler_of_pytorch_nor_its_exporter():
    """They are imported in seconds, as long as a first training takes."""
    script = """
import sys
import numpy as np
from divisions.pipeline.definition import Hyperparams
from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.export.onnx_export import export_onnx
from trainers.training.model import build_model
schema = FeatureSchema((Feature("age", FeatureKind.NUMERIC), Feature("plan", FeatureKind.CATEGORICAL, ("a", "b"))))
export_onnx(build_model(schema, np.ones((9, 2), np.float32), Hyperparams()), schema, {})
print(*sorted({"torch._dynamo", "torch.onnx._internal.exporter", "onnxscript"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("kinds", [(FeatureKind.NUMERIC,), (FeatureKind.CATEGORICAL,), (FeatureKind.BOOLEAN,)])
@pytest.mark.parametrize("hyperparams", [HYPERPARAMS, TABM, replace(HYPERPARAMS, hidden=())])
def test_a_schema_of_one_kind_of_columns_has_a_graph_too(kinds, hyperparams):
    schema = FeatureSchema(
        tuple(Feature(f"f{i}", kind, ("a", "b") * (kind is FeatureKind.CATEGORICAL)) for i, kind in enumerate(kinds))
    )
    rows = np.random.default_rng(3).integers(0, 3, (50, len(kinds))).astype(np.float32)
    network = build_model(schema, rows, hyperparams).eval()
    assert check_parity(network, schema, export_onnx(network, schema, {}), rows, seed=0) <= 1e-5


def test_a_network_of_another_kind_is_refused():
    with pytest.raises(TrainingError, match="no graph of a TabularNet"):
        export_onnx(TabularNet(SCHEMA, numeric_statistics(rows_and_labels()[0], SCHEMA), HYPERPARAMS), SCHEMA, {})


def test_wide_rows_are_scored_in_smaller_batches_and_alike(model_onnx, monkeypatch):
    rows, _ = rows_and_labels(40)
    whole, sizes, opened = score(model_onnx, rows), [], onnx_export._session

    class Watched:
        def __init__(self, data):
            self.session = opened(data)

        def run(self, names, given):
            sizes.append(len(given["rows"]))
            return self.session.run(names, given)

    monkeypatch.setattr(onnx_export, "_session", Watched)
    monkeypatch.setattr(network, "CELLS_A_PASS", 7 * rows.shape[1])
    assert np.allclose(score(model_onnx, rows), whole, atol=1e-6)
    assert sizes == [7] * 5 + [5]
