"""Refuses models that reach outside their own bytes.

An ONNX tensor may say that its values lie in another file, at any path. Such a file is not covered by the hash that
was checked, and a path is a way to read files that are none of the model's business. Bundles carry their weights
inside the model, so external data has no good use here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from divisions.errors import BundleError


def refuse_external_data(model: bytes) -> None:
    """Parses an ONNX model and walks all of its tensors, those of sub-graphs and functions included.

    Raises:
        BundleError: the bytes are no ONNX model, or a tensor's values lie outside of them.
    """
    # onnx costs 0.1 s at import; only a process that loads a model should pay it.
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
        # An absent field reads as an empty message, so there is nothing to ask first.
        yield attribute.t
        yield from attribute.tensors
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)
