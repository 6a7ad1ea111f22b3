"""Writes a network as an ONNX graph, node by node, with the weights that it has.

    rows -+- Gather -> fill, clip, standardise, bin -> one product per column -+
          |                                                                    +-> Concat -> layers -> Sigmoid -> scores
          +- Gather -> clean codes -> Gather (table) --------------------------+

It mirrors the modules of `trainers.training.model` and `trainers.training.tabm`, line by line: a module that changes
needs its change here. The parity check of every export compares both, so a difference is an error and no other model.
PyTorch's exporter would trace the modules, and imports its compiler for that, which takes longer than a first training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from divisions.bundle import GRAPH_INPUT, GRAPH_OUTPUT
from divisions.errors import TrainingError
from divisions.schema import FeatureSchema
from trainers.training.model import CategoryEmbedding, NumericEmbedding, TabularModel, TabularNet
from trainers.training.tabm import LEAST_PROBABILITY, SharedLinear, TabmModel

OPSET = 20
"""An opset that every engine reads: TensorRT 10.13's parser supports up to 22, ONNX Runtime 1.32 more. It has all
operators of the feature transform (``IsNaN``, ``Where``)."""
IR_VERSION = 10


class Nodes:
    """Nodes and constants of a graph, in the order of their making. A node has the name of what it makes."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        array = values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)
        self.constants[name] = numpy_helper.from_array(array, name)
        return name


def network_graph(network: TabularNet, schema: FeatureSchema) -> Any:
    """A model of ONNX: ``rows float32[batch, F] -> scores float32[batch]``.

    Raises:
        TrainingError: it is a network of another kind.
    """
    from onnx import TensorProto, helper

    nodes = Nodes()
    embedded = _embedded(nodes, network)
    if isinstance(network, TabularModel):
        logits = _perceptron(nodes, network, embedded)
    elif isinstance(network, TabmModel):
        logits = _ensemble(nodes, network, embedded)
    else:
        raise TrainingError(f"there is no graph of a {type(network).__name__}")
    nodes.add("Sigmoid", [logits], GRAPH_OUTPUT)
    graph = helper.make_graph(
        nodes.nodes,
        "network",
        [helper.make_tensor_value_info(GRAPH_INPUT, TensorProto.FLOAT, ["batch", schema.num_columns])],
        [helper.make_tensor_value_info(GRAPH_OUTPUT, TensorProto.FLOAT, ["batch"])],
        list(nodes.constants.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="divisions")


def _embedded(nodes: Nodes, network: TabularNet) -> str:
    """`TabularNet.embedded`: ``[N, F * E]``."""
    parts = []
    if network.numeric is not None:
        columns = nodes.constant("numeric_index_M", network.numeric_index_M)
        rows = nodes.add("Gather", [GRAPH_INPUT, columns], "numbers", axis=1)
        parts.append(_numbers(nodes, network.numeric, rows))
    if network.categorical is not None:
        columns = nodes.constant("categorical_index_C", network.categorical_index_C)
        rows = nodes.add("Gather", [GRAPH_INPUT, columns], "codes", axis=1)
        parts.append(_categories(nodes, network.categorical, rows))
    return parts[0] if len(parts) == 1 else nodes.add("Concat", parts, "embedded", axis=1)


def _numbers(nodes: Nodes, numbers: NumericEmbedding, x_NM: str) -> str:
    """`NumericEmbedding.forward`: ``[N, M]`` to ``[N, M * E]``."""
    from onnx import TensorProto

    for name, values in numbers.named_buffers():
        nodes.constant(f"numeric.{name}", values)
    last = nodes.constant("last_axis", np.array([-1]))
    missing = nodes.add("IsNaN", [x_NM], "missing_NM")
    filled = nodes.add("Where", [missing, "numeric.mean_M", x_NM], "filled_NM")
    above = nodes.add("Max", [filled, "numeric.lowest_M"], "above_NM")
    within = nodes.add("Min", [above, "numeric.highest_M"], "within_NM")
    centred = nodes.add("Sub", [within, "numeric.mean_M"], "centred_NM")
    scaled = nodes.add("Mul", [centred, "numeric.inverse_scale_M"], "scaled_NM")
    standard = nodes.add("Unsqueeze", [scaled, last], "standard_NM1")
    past = nodes.add("Sub", [standard, "numeric.edge_MB"], "past_NMB")
    shares = nodes.add("Mul", [past, "numeric.inverse_width_MB"], "shares_NMB")
    ends = [nodes.constant("zero", np.float32(0.0)), nodes.constant("one", np.float32(1.0))]
    bins = nodes.add("Clip", [shares, *ends], "bins_NMB")
    flags = nodes.add("Cast", [missing], "flags_NM", to=TensorProto.FLOAT)
    flags = nodes.add("Unsqueeze", [flags, last], "flags_NM1")
    inputs = nodes.add("Concat", [bins, standard, flags], "inputs_NMI", axis=-1)
    inputs = nodes.add("Transpose", [inputs], "inputs_MNI", perm=[1, 0, 2])
    weight = nodes.constant("numeric.weight_MIE", numbers.weight_MIE)
    products = nodes.add("MatMul", [inputs, weight], "products_MNE")
    bias = nodes.constant("numeric.bias_M1E", numbers.bias_ME.unsqueeze(1))
    biased = nodes.add("Add", [products, bias], "biased_MNE")
    positive = nodes.add("Relu", [biased], "positive_MNE")
    turned = nodes.add("Transpose", [positive], "positive_NME", perm=[1, 0, 2])
    return _flat(nodes, turned, "numbers_flat", numbers.bias_ME.numel())


def _categories(nodes: Nodes, categories: CategoryEmbedding, codes_NC: str) -> str:
    """`CategoryEmbedding.forward`: ``[N, C]`` to ``[N, C * E]``."""
    from onnx import TensorProto

    zero = nodes.constant("zero", np.float32(0.0))
    num_known = nodes.constant("categorical.num_known_C", categories.num_known_C)
    not_below = nodes.add("GreaterOrEqual", [codes_NC, zero], "not_below_NC")
    not_above = nodes.add("LessOrEqual", [codes_NC, num_known], "not_above_NC")
    is_known = nodes.add("And", [not_below, not_above], "is_known_NC")
    known = nodes.add("Where", [is_known, codes_NC, zero], "known_NC")
    is_missing = nodes.add("IsNaN", [codes_NC], "is_missing_NC")
    missing = nodes.constant("categorical.missing_C", categories.num_known_C + 1.0)
    clean = nodes.add("Where", [is_missing, missing, known], "clean_NC")
    places = nodes.add("Cast", [clean], "places_NC", to=TensorProto.INT64)
    offset = nodes.constant("categorical.offset_C", categories.offset_C)
    places = nodes.add("Add", [places, offset], "table_places_NC")
    weight = categories.table.weight
    picked = nodes.add("Gather", [nodes.constant("categorical.table.weight", weight), places], "picked_NCE", axis=0)
    return _flat(nodes, picked, "categories_flat", categories.num_known_C.numel() * weight.shape[1])


def _flat(nodes: Nodes, values: str, output: str, width: int) -> str:
    return nodes.add("Reshape", [values, nodes.constant(f"{output}_shape", np.array([-1, width]))], output)


def _perceptron(nodes: Nodes, network: TabularModel, x: str) -> str:
    """`TabularModel.logits`, without its dropout."""
    for index, layer in enumerate(network.body):
        if isinstance(layer, nn.Linear):
            x = _linear(nodes, layer, f"body.{index}", x)
        elif isinstance(layer, nn.ReLU):
            x = nodes.add("Relu", [x], f"body.{index}.output")
    logits_N1 = _linear(nodes, network.head, "head", x)
    return nodes.add("Squeeze", [logits_N1, nodes.constant("member_axis", np.array([1]))], "logits")


def _linear(nodes: Nodes, layer: nn.Linear, name: str, x: str) -> str:
    weight, bias = nodes.constant(f"{name}.weight", layer.weight), nodes.constant(f"{name}.bias", layer.bias)
    return nodes.add("Gemm", [x, weight, bias], f"{name}.output", transB=1)


def _ensemble(nodes: Nodes, network: TabmModel, x_NI: str) -> str:
    """`TabmModel.logits`, without its dropout."""
    member_axis = nodes.constant("member_axis", np.array([1]))
    x = nodes.add("Unsqueeze", [x_NI, member_axis], "embedded_N1I")
    for index, layer in enumerate(network.body):
        if isinstance(layer, SharedLinear):
            x = _shared_linear(nodes, layer, f"body.{index}", x)
        elif isinstance(layer, nn.ReLU):
            x = nodes.add("Relu", [x], f"body.{index}.output")
    weighted = nodes.add("Mul", [x, nodes.constant("head_KI", network.head_KI)], "weighted_NKI")
    sums = nodes.add("ReduceSum", [weighted, nodes.constant("sum_axis", np.array([-1]))], "sums_NK", keepdims=0)
    logits = nodes.add("Add", [sums, nodes.constant("head_bias_K", network.head_bias_K)], "logits_NK")
    yes = _log_of_mean(nodes, logits, "yes")
    no = _log_of_mean(nodes, nodes.add("Neg", [logits], "negative_NK"), "no")
    odds = nodes.add("Sub", [yes, no], "log_odds_N")
    scaled = nodes.add("Mul", [odds, nodes.constant("slope", network.slope)], "sloped_N")
    return nodes.add("Add", [scaled, nodes.constant("offset", network.offset)], "logits")


def _shared_linear(nodes: Nodes, layer: SharedLinear, name: str, x: str) -> str:
    """`SharedLinear.forward`: ``[N, K, I]`` to ``[N, K, O]``."""
    x = nodes.add("Mul", [x, nodes.constant(f"{name}.input_scale_KI", layer.input_scale_KI)], f"{name}.scaled_NKI")
    weight_IO = nodes.constant(f"{name}.weight_IO", layer.weight_OI.T.contiguous())
    x = nodes.add("MatMul", [x, weight_IO], f"{name}.products_NKO")
    x = nodes.add("Mul", [x, nodes.constant(f"{name}.output_scale_KO", layer.output_scale_KO)], f"{name}.scaled_NKO")
    return nodes.add("Add", [x, nodes.constant(f"{name}.bias_KO", layer.bias_KO)], f"{name}.output_NKO")


def _log_of_mean(nodes: Nodes, logits_NK: str, name: str) -> str:
    """The logarithm of the members' mean probability."""
    probabilities = nodes.add("Sigmoid", [logits_NK], f"{name}_NK")
    axes = nodes.constant("member_axis", np.array([1]))
    mean = nodes.add("ReduceMean", [probabilities, axes], f"{name}_mean_N", keepdims=0)
    least = nodes.constant("least_probability", np.float32(LEAST_PROBABILITY))
    return nodes.add("Log", [nodes.add("Clip", [mean, least], f"{name}_N")], f"{name}_log_N")
