"""What a foreign graph may be, how it is adapted, and the one line that refuses every other."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from deploy.model_import.graph import adapt, read_graph
from deploy.model_import.parity import checked
from divisions.errors import BundleError
from tests.deploy.model_import.graphs import FLOAT, INT64, identity, logistic, model, value

ROWS = np.float32([[0.0, 0.0], [5.0, 0.0], [1.0, 1.5], [np.nan, 2.5]])
EXPECTED = 1.0 / (1.0 + np.exp(-(np.nan_to_num(ROWS) @ np.float32([2.0, 3.0]) - 6.0)))


@pytest.mark.parametrize("columns_out", [0, 1, 2])
@pytest.mark.parametrize("names", [("float_input", "probabilities"), ("rows", "scores"), ("scores", "rows")])
def test_every_shape_of_a_score_becomes_one_float_per_row(columns_out, names):
    foreign = read_graph(logistic(columns_out=columns_out, names=names), 2)
    adapted, worst = checked(foreign)
    assert worst < 1e-6
    session = onnxruntime.InferenceSession(adapted, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["rows"]
    assert [each.name for each in session.get_outputs()] == ["scores"]
    (scores,) = session.run(None, {"rows": ROWS})
    assert scores.shape == (4,)
    np.testing.assert_allclose(scores, EXPECTED, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 13, 20])
def test_old_and_new_opsets_are_adapted_alike(opset):
    adapted, _ = checked(read_graph(logistic(opset=opset), 2))
    assert {each.version for each in onnx.ModelProto.FromString(adapted).opset_import} == {opset}


def test_the_framework_is_who_has_made_it():
    made = logistic(producer_name="skl2onnx", producer_version="1.19")
    assert read_graph(made, 2).framework == "onnx (skl2onnx 1.19)"
    assert read_graph(logistic(), 2).framework == "onnx"


def test_of_two_possible_outputs_one_must_be_named():
    two = identity([value("x", "N", 2)], [value("a", "N", 2), value("b", "N", 2)])
    with pytest.raises(BundleError, match=r"2 outputs that may be the score: 'a', 'b'.*--model-output"):
        read_graph(two, 2)
    assert read_graph(two, 2, "b").output_name == "b"
    with pytest.raises(BundleError, match=r"no output 'c', only 'a', 'b'"):
        read_graph(two, 2, "c")


SCORE = [value("y", "N", 2)]
NOT_NEW = onnx.defs.onnx_opset_version() + 1
REFUSED = {
    "no ONNX": (b"\x00\x01 no model", "the file is no ONNX model"),
    "empty": (b"", "the file is no ONNX model"),
    "html": (b"<html>404</html>", "the file is no ONNX model"),
    "two inputs": (identity([value("a", "N", 2), value("b", "N", 2)], SCORE), r"has 2 inputs \('a', 'b'\), not one"),
    "an input per feature": (identity([value("age", "N", 1)], SCORE), r"is float32\[N, 1\], but the schema has 2"),
    "whole numbers": (identity([value("x", "N", 2, kind=INT64)], SCORE), r"is int64\[N, 2\], not float32\[N, 2\]"),
    "rank 3": (identity([value("x", "N", 2, 4)], SCORE), r"is float32\[N, 2, 4\], not float32"),
    "a fixed batch": (identity([value("x", 8, 2)], SCORE), "it takes batches of 8 only"),
    "dynamic columns": (identity([value("x", "N", "F")], SCORE), "the number of its columns is dynamic"),
    "other columns": (identity([value("x", "N", 3)], SCORE), r"is float32\[N, 3\], but the schema has 2 features"),
    "three classes": (identity([value("x", "N", 2)], [value("y", "N", 3)]), r"no output with a score per row.*N, 3"),
    "only labels": (identity([value("x", "N", 2)], [value("y", "N", kind=INT64)]), r"only 'y' int64\[N\]"),
    "opset": (identity([value("x", "N", 2)], SCORE, opset=NOT_NEW), f"opset {NOT_NEW}, newer than the {NOT_NEW - 1}"),
    "format": (identity([value("x", "N", 2)], SCORE, ir_version=99), "ONNX's format 99, newer than"),
}


@pytest.mark.parametrize(("made", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_everything_else_is_refused_in_one_line(made, message):
    with pytest.raises(BundleError, match=message) as refused:
        read_graph(made, 2)
    assert "\n" not in str(refused.value)
    assert refused.value.remedy


def test_zip_maps_are_refused_with_the_remedy():
    zipped = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    kind = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    output = helper.make_value_info("y", helper.make_sequence_type_proto(kind))
    with pytest.raises(BundleError, match=r"only 'y' no tensor.*without ZipMap"):
        read_graph(model([zipped], [value("x", "N", 2)], [output]), 2)


def test_an_operator_that_nobody_knows_is_one_line():
    custom = helper.make_node("Magic", ["x"], ["y"], domain="com.example")
    with pytest.raises(BundleError, match=r"cannot load the model: .*") as refused:
        checked(read_graph(model([custom], [value("x", "N", 2)], [value("y", "N")]), 2))
    assert "\n" not in str(refused.value)


def test_external_data_is_refused():
    proto = onnx.ModelProto.FromString(logistic())
    weights = next(each for each in proto.graph.initializer if each.name == "weights")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../etc/passwd")
    with pytest.raises(BundleError, match="'weights' of the model keeps its values in another file"):
        checked(read_graph(proto.SerializeToString(), 2))


def test_a_score_that_depends_on_the_other_rows_fails_parity():
    """A batch normalisation that was exported in training mode does so."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("ReduceMean", ["centred"], ["y"], axes=[1], keepdims=0),
    ]
    with pytest.raises(BundleError, match=r"fails the parity check: .*differs.*inference mode"):
        checked(read_graph(model(nodes, [value("x", "N", 2)], [value("y", "N")], opset=17), 2))


def test_adapting_keeps_the_original_as_it_is():
    made = logistic()
    foreign = read_graph(made, 2)
    adapt(foreign)
    assert foreign.model == made
