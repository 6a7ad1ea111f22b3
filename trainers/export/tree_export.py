"""Exports boosted trees to a self-contained ONNX graph, written node by node.

    rows -+----------------------------------------------+-> Concat -> TreeEnsembleRegressor -> Sigmoid -> scores
          +-> Gather (columns of sets) -> clean codes -> Gather (members) -+

It mirrors `trainers.training.trees.BoostedTrees.logits`. The comparisons are those of float32, so every engine takes
the branches of the trained trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata as packages
from typing import Any

import numpy as np

from divisions.bundle import GRAPH_INPUT, GRAPH_OUTPUT
from divisions.schema import FeatureSchema
from trainers.training.trees import LEAF, BoostedTrees

OPSET = 20
ML_OPSET = 3
IR_VERSION = 10
NO_HALF = "trees have no matrix products, and TensorRT has no trees: replicas serve them by ONNX Runtime, on the CPU"


def tree_framework() -> str:
    return f"scikit-learn {packages.version('scikit-learn')}"


def export_trees(trees: BoostedTrees, schema: FeatureSchema, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a graph ``rows float32[batch, F] -> scores float32[batch]``, including all trees."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants: list[Any] = []

    def constant(name: str, values: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    nodes = []
    inputs = GRAPH_INPUT
    if len(trees.set_column_S):
        nodes = _memberships(trees, constant)
        nodes.append(helper.make_node("Concat", [GRAPH_INPUT, "members"], ["inputs"], axis=1))
        inputs = "inputs"
    nodes += [
        helper.make_node(
            "TreeEnsembleRegressor", [inputs], ["logits_N1"], name="trees", domain="ai.onnx.ml", **_attributes(trees)
        ),
        helper.make_node("Squeeze", ["logits_N1", constant("last_axis", np.array([1]))], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], [GRAPH_OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "boosted_trees",
        [helper.make_tensor_value_info(GRAPH_INPUT, TensorProto.FLOAT, ["batch", schema.num_columns])],
        [helper.make_tensor_value_info(GRAPH_OUTPUT, TensorProto.FLOAT, ["batch"])],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="divisions")
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _memberships(trees: BoostedTrees, constant: Any) -> list[Any]:
    """Nodes for ``members float32[batch, S]``: 1 where a row's category is in the set."""
    from onnx import TensorProto, helper

    num_sets, num_codes = trees.set_members_SV.shape
    num_known_S = trees.num_known_S.astype(np.float32)
    return [
        helper.make_node("Gather", [GRAPH_INPUT, constant("set_columns", trees.set_column_S)], ["codes"], axis=1),
        helper.make_node("GreaterOrEqual", ["codes", constant("zero", np.float32(0.0))], ["is_not_below"]),
        helper.make_node("LessOrEqual", ["codes", constant("num_known", num_known_S)], ["is_not_above"]),
        helper.make_node("And", ["is_not_below", "is_not_above"], ["is_known"]),
        helper.make_node("Where", ["is_known", "codes", "zero"], ["known"]),
        helper.make_node("IsNaN", ["codes"], ["is_missing"]),
        helper.make_node("Where", ["is_missing", constant("missing", num_known_S + 1.0), "known"], ["clean"]),
        helper.make_node("Cast", ["clean"], ["positions"], to=TensorProto.INT64),
        helper.make_node("Add", ["positions", constant("starts", np.arange(num_sets) * num_codes)], ["places"]),
        helper.make_node("Gather", [constant("table", trees.set_members_SV.reshape(-1)), "places"], ["members"]),
    ]


def _attributes(trees: BoostedTrees) -> dict[str, Any]:
    """The trees as the lists that the operator has: one entry a node, numbered from 0 in each tree."""
    is_leaf_D = trees.input_D == LEAF
    sizes_T = np.diff(np.append(trees.root_T, len(trees.input_D)))
    tree_D = np.repeat(np.arange(len(trees.root_T)), sizes_T)
    root_D = trees.root_T[tree_D]
    id_D = np.arange(len(trees.input_D)) - root_D
    return {
        "n_targets": 1,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "base_values": trees.base.tolist(),
        "nodes_treeids": tree_D.tolist(),
        "nodes_nodeids": id_D.tolist(),
        "nodes_featureids": np.where(is_leaf_D, 0, trees.input_D).tolist(),
        "nodes_modes": np.where(is_leaf_D, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": np.where(is_leaf_D, np.float32(0.0), trees.threshold_D).tolist(),
        "nodes_truenodeids": np.where(is_leaf_D, 0, trees.left_D - root_D).tolist(),
        "nodes_falsenodeids": np.where(is_leaf_D, 0, trees.right_D - root_D).tolist(),
        "nodes_missing_value_tracks_true": trees.missing_left_D.astype(int).tolist(),
        "target_treeids": tree_D[is_leaf_D].tolist(),
        "target_nodeids": id_D[is_leaf_D].tolist(),
        "target_ids": [0] * int(is_leaf_D.sum()),
        "target_weights": trees.value_D[is_leaf_D].tolist(),
    }
