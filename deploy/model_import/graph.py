"""What a foreign ONNX graph takes and gives, and the same graph as replicas serve it. Pure, on the graph's bytes.

Replicas serve ``rows float32[N, F] -> scores float32[N]``. A graph may be adapted to that without touching its values:

===============================  =====================================================================
its output                       the score
===============================  =====================================================================
``float32[N]``                   as it is
``float32[N, 1]``                the only column
``float32[N, 2]``                the second column: scikit-learn's ``probabilities`` of two classes
===============================  =====================================================================

Everything else is refused. All names get a prefix, so that they cannot clash with ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from divisions.bundle import GRAPH_INPUT, GRAPH_OUTPUT
from divisions.errors import BundleError

_PREFIX: Final = "imported/"
_FLOAT, _INT64 = 1, 7
"""Element types of ONNX's ``TensorProto``."""


@dataclass(frozen=True, slots=True)
class ForeignGraph:
    """A graph that can be adapted. ``num_outputs`` is 0 for ``float32[N]``, else the output's columns."""

    model: bytes
    input_name: str
    output_name: str
    columns: int
    num_outputs: int
    framework: str


def read_graph(model: bytes, columns: int, output: str = "") -> ForeignGraph:
    """Checks a graph's inputs, outputs and opset.

    Args:
        columns: of the feature schema.
        output: the output that has the score; needed if several could have it.

    Raises:
        BundleError: it is no ONNX, or not such a graph.
    """
    proto = _parse(model)
    _check_opset(proto)
    graph = proto.graph
    initialized = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initialized]
    if len(inputs) != 1:
        raise BundleError(
            f"the model has {len(inputs)} inputs ({_names(inputs)}), not one",
            remedy="export it with one input float32[N, F], the features of the schema in order",
        )
    _check_input(inputs[0], columns)
    chosen = _choose_output(list(graph.output), output)
    made_by = f"{proto.producer_name} {proto.producer_version}".strip()
    return ForeignGraph(
        model, inputs[0].name, chosen.name, columns, _num_columns(chosen), f"onnx ({made_by})" if made_by else "onnx"
    )


def adapt(foreign: ForeignGraph) -> bytes:
    """The graph as replicas serve it.

    Raises:
        BundleError: the result is not valid ONNX.
    """
    import onnx
    from onnx import compose, helper

    try:
        proto = compose.add_prefix(onnx.ModelProto.FromString(foreign.model), _PREFIX)
        graph = proto.graph
        first = helper.make_node("Identity", [GRAPH_INPUT], [_PREFIX + foreign.input_name])
        graph.node.insert(0, first)
        graph.node.extend(_score_nodes(_PREFIX + foreign.output_name, foreign.num_outputs))
        graph.initializer.extend(_constants(foreign.num_outputs))
        initialized = {tensor.name for tensor in graph.initializer}
        kept = [value for value in graph.input if value.name in initialized]
        del graph.input[:], graph.output[:]
        rows = helper.make_tensor_value_info(GRAPH_INPUT, _FLOAT, ["batch", foreign.columns])
        graph.input.extend([rows, *kept])
        graph.output.append(helper.make_tensor_value_info(GRAPH_OUTPUT, _FLOAT, ["batch"]))
        onnx.checker.check_model(proto)
        return bytes(proto.SerializeToString())
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise BundleError(f"the model is not valid ONNX: {reason}", remedy="export it again") from None


def _parse(model: bytes) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.ModelProto.FromString(model)
    except DecodeError:
        proto = onnx.ModelProto()
    if not proto.graph.node or not proto.opset_import:
        raise BundleError("the file is no ONNX model", remedy="name a file that was exported to ONNX")
    return proto


def _check_opset(proto: Any) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    for opset in proto.opset_import:
        if opset.domain in {"", "ai.onnx"} and opset.version > newest:
            raise BundleError(
                f"the model uses opset {opset.version}, newer than the {newest} that is known here",
                remedy="export it with opset 20, which all engines read",
            )
    if proto.ir_version > onnx.IR_VERSION:
        raise BundleError(
            f"the model has ONNX's format {proto.ir_version}, newer than the {int(onnx.IR_VERSION)} that is known here",
            remedy="export it with an older release of ONNX",
        )


def _check_input(value: Any, columns: int) -> None:
    kind, shape = _shape(value)
    takes = f"the model's input {value.name!r} is {_text(kind, shape)}"
    remedy = f"export it with one input float32[N, {columns}], the features of the schema in order"
    if kind != _FLOAT or len(shape) != 2:
        raise BundleError(f"{takes}, not float32[N, {columns}]", remedy=remedy)
    if shape[0] is not None:
        raise BundleError(
            f"{takes}: it takes batches of {shape[0]} only", remedy="export it with a dynamic first dimension"
        )
    if shape[1] is None:
        raise BundleError(f"{takes}: the number of its columns is dynamic", remedy=remedy)
    if shape[1] != columns:
        raise BundleError(f"{takes}, but the schema has {columns} features", remedy="name the model's own schema")


def _choose_output(outputs: list[Any], wanted: str) -> Any:
    named = [value for value in outputs if value.name == wanted] if wanted else outputs
    if wanted and not named:
        raise BundleError(
            f"the model has no output {wanted!r}, only {_names(outputs)}",
            remedy="name one of these with --model-output",
        )
    fitting = [value for value in named if _is_score(value)]
    if not fitting:
        told = ", ".join(f"{value.name!r} {_text(*_shape(value))}" for value in named)
        raise BundleError(
            f"the model has no output with a score per row, only {told}",
            remedy="export it with a probability per row: float32[N], [N, 1] or [N, 2] (scikit-learn: without ZipMap)",
        )
    if len(fitting) > 1:
        raise BundleError(
            f"the model has {len(fitting)} outputs that may be the score: {_names(fitting)}",
            remedy="name one of them with --model-output",
        )
    return fitting[0]


def _is_score(value: Any) -> bool:
    kind, shape = _shape(value)
    is_batched = bool(shape) and shape[0] is None
    return kind == _FLOAT and is_batched and (len(shape) == 1 or (len(shape) == 2 and shape[1] in {1, 2}))


def _num_columns(value: Any) -> int:
    _, shape = _shape(value)
    return 0 if len(shape) == 1 else int(shape[1] or 0)


def _shape(value: Any) -> tuple[int, list[int | None]]:
    """Element type and dimensions; a dynamic one is None. Type 0 is no tensor."""
    if not value.type.HasField("tensor_type"):
        return 0, []
    tensor = value.type.tensor_type
    return tensor.elem_type, [each.dim_value if each.HasField("dim_value") else None for each in tensor.shape.dim]


def _text(kind: int, shape: list[int | None]) -> str:
    import onnx

    if not kind:
        return "no tensor"
    name = "float32" if kind == _FLOAT else onnx.TensorProto.DataType.Name(kind).lower()
    return f"{name}[{', '.join('N' if each is None else str(each) for each in shape)}]"


def _names(values: list[Any]) -> str:
    return ", ".join(repr(value.name) for value in values) or "none"


def _score_nodes(output: str, num_outputs: int) -> list[Any]:
    from onnx import helper

    if not num_outputs:
        return [helper.make_node("Identity", [output], [GRAPH_OUTPUT])]
    # A scalar index takes one column, and its dimension goes. It is the same in every opset.
    return [helper.make_node("Gather", [output, "score_column"], [GRAPH_OUTPUT], axis=1)]


def _constants(num_outputs: int) -> list[Any]:
    from onnx import helper

    return [helper.make_tensor("score_column", _INT64, [], [num_outputs - 1])] if num_outputs else []
