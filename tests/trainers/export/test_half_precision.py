import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from divisions.errors import TrainingError
from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels
from trainers.export.half_precision import HalfParity, check_half, compare_half, half_precision
from trainers.export.network_graph import OPSET
from trainers.export.onnx_export import export_onnx, score
from trainers.training.model import build_model


@pytest.fixture(scope="module")
def model_onnx():
    return export_onnx(build_model(SCHEMA, rows_and_labels()[0], HYPERPARAMS).eval(), SCHEMA, {"run_id": "r-1"})


@pytest.fixture(scope="module")
def half_onnx(model_onnx):
    return half_precision(model_onnx)


def test_the_body_is_float16_and_the_ends_are_float32(model_onnx, half_onnx):
    model = onnx.ModelProto.FromString(half_onnx)
    types = {one.name: one.type.tensor_type.elem_type for one in model.graph.value_info}
    types |= {one.name: one.data_type for one in model.graph.initializer}
    gemms = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert len(gemms) == len(HYPERPARAMS.hidden) + 1
    for node in gemms:
        assert {types[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}
    assert {kind for name, kind in types.items() if name.startswith("numeric.")} == {TensorProto.FLOAT}
    for ends in (model.graph.input, model.graph.output):
        assert [one.type.tensor_type.elem_type for one in ends] == [TensorProto.FLOAT]
    assert len(half_onnx) < len(model_onnx)
    assert [one.version for one in model.opset_import if not one.domain] == [OPSET]
    assert {one.key: one.value for one in model.metadata_props} == {"run_id": "r-1"}


def test_it_answers_nearly_as_the_whole_graph_on_extremes_and_holes(model_onnx, half_onnx):
    rows, labels = rows_and_labels(seed=1)
    parity = check_half(model_onnx, half_onnx, SCHEMA, rows, labels, seed=0)
    assert 0.0 < parity.max_difference < 5e-3
    assert parity.refusal == ""


def test_the_products_really_are_rounded(model_onnx, half_onnx):
    rows, _ = rows_and_labels(seed=2)
    assert not np.array_equal(score(model_onnx, rows), score(half_onnx, rows))


def test_a_weight_beyond_float16_is_refused(model_onnx):
    model = onnx.ModelProto.FromString(model_onnx)
    (weight,) = [one for one in model.graph.initializer if one.name == "head.weight"]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + 1e5, weight.name))
    with pytest.raises(TrainingError, match=r"head\.weight does not fit"):
        half_precision(model.SerializeToString())


def test_a_graph_without_products_has_no_variant():
    given = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N"])
    made = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph([helper.make_node("Sigmoid", ["rows"], ["scores"])], "g", [given], [made])
    with pytest.raises(TrainingError, match="no matrix product"):
        half_precision(helper.make_model(graph).SerializeToString())


def test_a_product_that_is_the_output_is_cast_back():
    given = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 2])
    made = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 1])
    weight = numpy_helper.from_array(np.array([[0.1], [0.2]], np.float32), "w")
    graph = helper.make_graph([helper.make_node("Gemm", ["rows", "w"], ["scores"])], "g", [given], [made], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(half_precision(model.SerializeToString()))
    (scores,) = session.run(None, {"rows": np.ones((3, 2), np.float32)})
    assert scores.dtype == np.float32
    assert np.allclose(scores, 0.3, atol=1e-3)


def test_the_verdict_names_what_is_wrong():
    labels = np.array([0, 1, 0, 1], np.float32)
    good, bad = np.array([0.1, 0.9, 0.2, 0.8], np.float32), np.array([0.1, 0.9, 0.8, 0.2], np.float32)
    assert compare_half(good, good, 4, labels) == HalfParity(0.0, 0.0)
    assert "probabilities differ by 0.6" in compare_half(good, bad, 4, labels).refusal
    assert HalfParity(1e-4, 2e-3).refusal.startswith("AUC is 0.002 lower")
    assert compare_half(good, good * np.nan, 4, labels).max_difference == float("inf")
    assert compare_half(good, good, 2, np.ones(2, np.float32)).refusal == ""
