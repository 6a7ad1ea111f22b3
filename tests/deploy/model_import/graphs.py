"""Small ONNX graphs as other tools export them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name, *dims, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, list(dims))


def model(nodes, inputs, outputs, constants=(), opset=17, ir_version=8, **options) -> bytes:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version, **options)
    return bytes(made.SerializeToString())


def logistic(
    weights=(2.0, 3.0), offset=-6.0, columns_out=2, names=("float_input", "probabilities"), fills=True, **options
) -> bytes:
    """A logistic regression; missing values count as 0, or make the answer NaN. Like scikit-learn's, it has labels as
    its first output."""
    given, answer = names
    node = helper.make_node
    nodes = [
        node("IsNaN", [given], ["is_missing"]),
        node("Where", ["is_missing", "zero" if fills else given, given], ["filled"]),
        node("Clip", ["filled", "lowest", "highest"], ["clipped"]),
        node("Gemm", ["clipped", "weights", "offset"], ["logit"]),
        node("Sigmoid", ["logit"], ["yes"]),
    ]
    outputs = [value(answer, "N", columns_out)]
    if columns_out == 2:
        nodes += [node("Sub", ["one", "yes"], ["no"]), node("Concat", ["no", "yes"], [answer], axis=1)]
        nodes += [node("ArgMax", [answer], ["label"], axis=1, keepdims=0)]
        outputs.insert(0, value("label", "N", kind=INT64))
    elif columns_out == 1:
        nodes += [node("Identity", ["yes"], [answer])]
    else:
        nodes += [node("Reshape", ["yes", "flat"], [answer])]
        outputs = [value(answer, "N")]
    constants = {
        "zero": np.float32(0.0),
        "one": np.float32(1.0),
        "lowest": np.float32(-1e3),
        "highest": np.float32(1e3),
        "weights": np.float32(weights)[:, None],
        "offset": np.float32([offset]),
        "flat": np.int64([-1]),
    }
    return model(nodes, [value(given, "N", len(weights))], outputs, constants, **options)


def identity(inputs, outputs, **options) -> bytes:
    """Gives its first input as every output, whatever they claim to be."""
    nodes = [helper.make_node("Identity", [inputs[0].name], [output.name]) for output in outputs]
    return model(nodes, inputs, outputs, **options)
