"""Makes a float16 variant of an exported graph, and checks that its scores are close enough.

TensorRT 11 has only strongly typed networks: the ONNX file decides the precision of a layer, and no flag of the builder
changes it. So this module types the body's matrix products (``Gemm``, and the ``Relu`` after them) as float16, with
casts before and after. The feature transform stays float32, because raw features reach 3e38 and float16 ends at 65,504.
The output stays float32, because float16 cannot distinguish probabilities near 1 that differ by less than 5e-4.

                 float32                     float16                  float32
    rows -> [feature transform] -> Cast -> [Gemm Relu … Gemm] -> Cast -> [Squeeze Sigmoid] -> scores
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divisions.errors import TrainingError
from divisions.schema import FeatureSchema
from trainers.training.evaluate import auc

PROBABILITY_TOLERANCE = 5e-3
"""Largest allowed difference of two probabilities. Float16 has 11 bits, so each weight and activation has an error of
2^-11. In the demo's graphs, the sum is about 1e-3 in a probability."""
AUC_TOLERANCE = 1e-3
"""Largest allowed loss of area under the ROC curve. People compare versions by its third digit."""

_FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class HalfParity:
    """The difference of the float16 graph from the float32 graph. ``auc_loss`` is NaN unless both labels occur."""

    max_difference: float
    auc_loss: float

    @property
    def refusal(self) -> str:
        """Why the variant may not serve; empty if it may."""
        if not self.max_difference <= PROBABILITY_TOLERANCE:
            return f"probabilities differ by {self.max_difference:.2g} (tolerance {PROBABILITY_TOLERANCE:g})"
        if self.auc_loss > AUC_TOLERANCE:
            return f"AUC is {self.auc_loss:.2g} lower (tolerance {AUC_TOLERANCE:g})"
        return ""


def half_precision(model_onnx: bytes) -> bytes:
    """The same graph with its body in float16. Input and output stay float32.

    Raises:
        TrainingError: the graph has no ``Gemm``, or a weight does not fit into float16.
    """
    import onnx
    from onnx import TensorProto, helper, shape_inference

    model = onnx.ModelProto.FromString(model_onnx)
    graph = model.graph
    body = _body(graph.node)
    if not body:
        raise TrainingError("the graph has no matrix product to put into float16")
    weights = {one.name: one for one in graph.initializer}
    made_by = {name: index for index, node in enumerate(graph.node) for name in node.output}
    half_weights: dict[str, Any] = {}
    nodes: list[Any] = []
    casts: set[str] = set()

    def cast(name: str, into: str, to: int) -> None:
        if into not in casts:
            casts.add(into)
            nodes.append(helper.make_node("Cast", [name], [into], name=f"cast_{into}", to=to))

    for index, node in enumerate(graph.node):
        for slot, name in enumerate(node.input):
            from_body = made_by.get(name) in body
            if index in body and name in weights:
                half_weights[name] = _half(weights[name])
                node.input[slot] = f"{name}.half"
            elif index in body and name and not from_body:
                cast(name, f"{name}.half", TensorProto.FLOAT16)
                node.input[slot] = f"{name}.half"
            elif index in body:
                node.input[slot] = f"{name}.half" if name else name
            elif from_body:
                cast(f"{name}.half", name, TensorProto.FLOAT)
        nodes.append(node)
    for index in body:
        for slot, name in enumerate(graph.node[index].output):
            graph.node[index].output[slot] = f"{name}.half"
    for output in graph.output:
        if made_by.get(output.name) in body:
            cast(f"{output.name}.half", output.name, TensorProto.FLOAT)
    rebuilt = helper.make_graph(nodes, graph.name, graph.input, graph.output)
    used = {name for node in nodes for name in node.input}
    rebuilt.initializer.extend(one for one in graph.initializer if one.name in used)
    rebuilt.initializer.extend(half_weights.values())
    model.graph.CopyFrom(rebuilt)
    model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _body(nodes: Iterable[Any]) -> set[int]:
    """Indices of the nodes to type as float16: each ``Gemm``, and each ``Relu`` after one. ``nodes`` are sorted."""
    body: set[int] = set()
    outputs: set[str] = set()
    for index, node in enumerate(nodes):
        if node.op_type == "Gemm" or (node.op_type == "Relu" and node.input[0] in outputs):
            body.add(index)
            outputs.update(node.output)
    return body


def _half(tensor: Any) -> Any:
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    if not np.abs(values).max(initial=0.0) <= _FLOAT16_MAX:
        raise TrainingError(f"weight {tensor.name} does not fit into float16: its values reach beyond 65,504")
    return numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half")


def compare_half(
    scores_N: NDArray[np.float32], half_scores_N: NDArray[np.float32], num_labelled: int, labels_L: NDArray[np.float32]
) -> HalfParity:
    """Compares scores. The last ``num_labelled`` rows have labels; AUC uses only these."""
    whole, half = scores_N[len(scores_N) - num_labelled :], half_scores_N[len(scores_N) - num_labelled :]
    has_both = 0 < labels_L.sum() < len(labels_L)
    loss = auc(labels_L, whole) - auc(labels_L, half) if has_both else float("nan")
    difference = np.abs(scores_N - half_scores_N).max(initial=0.0)
    return HalfParity(float(difference) if np.isfinite(half_scores_N).all() else float("inf"), float(loss))


def check_half(
    model_onnx: bytes,
    half_onnx: bytes,
    schema: FeatureSchema,
    rows_NF: NDArray[np.float32],
    labels_N: NDArray[np.float32],
    seed: int,
) -> HalfParity:
    """Runs both graphs on extreme, missing, random and real rows. The real rows have labels.

    Like tensor cores, ONNX Runtime's CPU kernels may compute a float16 product in float32 and then round it.
    """
    from trainers.export.onnx_export import parity_rows, score

    probe_NF = np.concatenate([parity_rows(schema, np.random.default_rng(seed)), rows_NF])
    return compare_half(score(model_onnx, probe_NF), score(half_onnx, probe_NF), len(rows_NF), labels_N)
