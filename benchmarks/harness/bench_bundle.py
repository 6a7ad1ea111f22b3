"""The model that all systems of a comparison serve: an MLP of fixed size with seeded random weights.

Its predictions mean nothing; its cost is realistic. 32 features go through 256, 256 and 128 units, a usual size for
tabular models. Every system gets the same ``model.onnx`` and the same request body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from divisions.bundle import ONNX, REFERENCE, Manifest, file_sha256, write_manifest
from divisions.schema import Feature, FeatureKind, FeatureSchema

MODEL = "bench-model"
ENDPOINT = "bench"
WIDTHS = (256, 256, 128)
NUM_FEATURES = 32


@dataclass(frozen=True, slots=True)
class Workload:
    """The bundle to serve and the request to send. ``body`` is one row as ``{"customer_id": …, "features": {…}}``."""

    bundle: Path
    bundle_sha256: str
    schema: FeatureSchema
    body: bytes

    @property
    def onnx(self) -> Path:
        return self.bundle / ONNX


def write_workload(
    folder: Path,
    num_features: int = NUM_FEATURES,
    seed: int = 0,
    widths: Sequence[int] = WIDTHS,
    takes_any: bool = False,
    has_reference: bool = False,
) -> Workload:
    """Writes the bundle into ``folder``, which must not exist, and makes up one request.

    With ``takes_any`` the model has a score for missing and huge values too, as models that the trainers export do.
    With ``has_reference`` the bundle has statistics of training data, made up too, so that it can be explained.
    """
    rng = np.random.default_rng(seed)
    schema = FeatureSchema(
        tuple(Feature(f"feature_{index:02d}", FeatureKind.NUMERIC) for index in range(num_features)), label=ENDPOINT
    )
    folder.mkdir(parents=True)
    (folder / ONNX).write_bytes(_mlp(num_features, widths, rng, takes_any))
    names = [ONNX]
    if has_reference:
        histograms = [
            {"feature": feature, "counts": (1, 1, 0), "edges": (0.0,), "median": 0.0} for feature in schema.features
        ]
        (folder / REFERENCE).write_bytes(msgspec.json.encode({"num_rows": 2, "histograms": histograms}))
        names.append(REFERENCE)
    manifest = Manifest(
        model=MODEL,
        pipeline="benchmark",
        run_id="benchmark",
        created_at="2025-01-13T00:00:00Z",
        schema=schema,
        metrics={},
        files={name: file_sha256(folder / name) for name in names},
        framework="seeded weights",
    )
    sha256 = write_manifest(folder, manifest)
    row = {
        name: round(float(value), 4) for name, value in zip(schema.names, rng.normal(size=num_features), strict=True)
    }
    body = msgspec.json.encode({"customer_id": "c-1", "features": row})
    return Workload(folder, sha256, schema, body)


def _mlp(num_features: int, widths: Sequence[int], rng: np.random.Generator, takes_any: bool) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, value, width = [], [], "rows", num_features
    if takes_any:
        limits = {"zero": 0.0, "lowest": -10.0, "highest": 10.0}
        weights += [numpy_helper.from_array(np.array(limit, np.float32), name) for name, limit in limits.items()]
        nodes.append(helper.make_node("IsNaN", ["rows"], ["is_missing"]))
        nodes.append(helper.make_node("Where", ["is_missing", "zero", "rows"], ["filled"]))
        nodes.append(helper.make_node("Clip", ["filled", "lowest", "highest"], ["clipped"]))
        value = "clipped"
    for index, units in enumerate((*widths, 1)):
        weight = rng.normal(scale=np.sqrt(2.0 / width), size=(width, units)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"weight_{index}"))
        weights.append(numpy_helper.from_array(np.zeros(units, np.float32), f"bias_{index}"))
        nodes.append(helper.make_node("Gemm", [value, f"weight_{index}", f"bias_{index}"], [f"layer_{index}"]))
        value, width = f"layer_{index}", units
        if index < len(widths):
            nodes.append(helper.make_node("Relu", [value], [f"active_{index}"]))
            value = f"active_{index}"
    weights.append(numpy_helper.from_array(np.array([-1], np.int64), "flat"))
    nodes.append(helper.make_node("Sigmoid", [value], ["probabilities"]))
    nodes.append(helper.make_node("Reshape", ["probabilities", "flat"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", num_features])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
