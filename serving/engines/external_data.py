"""Refuses models that read data outside their own bytes.

An ONNX tensor may keep its values in another file, at any path. The hash that was checked does not cover that file, and
the path may lead to any file of this machine. Bundles keep their weights inside the model, so they need no external
data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from divisions.errors import BundleError


def refuse_external_data(model: bytes) -> None:
    """Parses an ONNX model and checks all of its tensors, including those of sub-graphs and functions.

    Raises:
        BundleError: the bytes are no ONNX model, or a tensor's values lie outside of them.
    """
    # The import is slow. Only a process that loads a model should pay for it.
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.ModelProto.FromString(model)
    except DecodeError:
        raise BundleError("the model is not an ONNX file", remedy="export and register it again") from None
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise BundleError(
                f"tensor {tensor.name!r} of the model keeps its values in another file",
                remedy="export the model with its weights inside (no external data)",
            )


def _tensors(model: Any) -> Iterator[Any]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        # An absent field reads as an empty message, so no check is needed.
        yield attribute.t
        yield from attribute.tensors
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)
