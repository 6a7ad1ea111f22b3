"""A bundle in MLflow's own format: the files that MLflow's tools look for beside ``model.onnx``. Pure.

    MLmodel                       flavours, signature, and the features that the rows encode
    input_example.json            one typical row; serving_input_example.json is the same as a request
    requirements.txt, conda.yaml, python_env.yaml

They follow from the bundle, and are no part of it: replicas load what the manifest names. The signature is the graph's
own: encoded rows (`divisions.schema`), because categories become numbers before the graph, and all else inside it. The
example is made of the reference's most frequent bins, so no customer is in it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

import msgspec

from divisions.bundle import GRAPH_INPUT, GRAPH_OUTPUT, ONNX, Manifest
from divisions.schema import Feature, FeatureKind, FeatureSchema

MLMODEL: Final = "MLmodel"
EXAMPLE: Final = "input_example.json"
SERVING_EXAMPLE: Final = "serving_input_example.json"
_PACKAGES: Final = ("mlflow", "numpy", "onnx", "onnxruntime")


class _Histogram(msgspec.Struct, frozen=True):
    """What the example needs of `trainers.data.reference.FeatureHistogram`."""

    feature: Feature
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()


class _Reference(msgspec.Struct, frozen=True):
    histograms: tuple[_Histogram, ...]


def installed() -> dict[str, str]:
    """The versions of the packages that serve such a model here."""
    return {name: metadata.version(name) for name in _PACKAGES}


def mlflow_files(
    manifest: Manifest, reference: bytes, num_bytes: int, packages: Mapping[str, str], run_id: str = ""
) -> dict[str, bytes]:
    """The files by name.

    Args:
        reference: the bundle's ``reference.json``; empty if it has none.
        num_bytes: the size of the graph.
        packages: `installed`.
        run_id: the run whose artifacts they go to; empty for a place that runs share.
    """
    example = {GRAPH_INPUT: [typical_row(manifest.schema, reference)]}
    requirements = [f"{name}=={version}" for name, version in sorted(packages.items())]
    python = platform.python_version()
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
        "name": "mlflow-env",
    }
    environment = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    return {
        MLMODEL: _yaml(_description(manifest, num_bytes, packages, run_id)),
        EXAMPLE: json.dumps(example).encode(),
        SERVING_EXAMPLE: json.dumps({"inputs": example}).encode(),
        "requirements.txt": "".join(f"{line}\n" for line in requirements).encode(),
        "conda.yaml": _yaml(conda),
        "python_env.yaml": _yaml(environment),
    }


def typical_row(schema: FeatureSchema, reference: bytes) -> list[float]:
    """One encoded row: of each feature a value of its most frequent bin; 0 where that is unknown or missing."""
    found = msgspec.json.decode(reference, type=_Reference).histograms if reference else ()
    by_name = {histogram.feature.name: histogram for histogram in found}
    return [_typical(feature, by_name.get(feature.name)) for feature in schema.features]


def _typical(feature: Feature, histogram: _Histogram | None) -> float:
    present = histogram.counts[:-1] if histogram else ()
    if histogram is None or not any(present):
        return 0.0
    if feature.kind is FeatureKind.NUMERIC:
        # The bins are tenths, so the middle edge is near the median.
        return histogram.edges[len(histogram.edges) // 2] if histogram.edges else 0.0
    most = max(range(len(present)), key=lambda position: (present[position], -position))
    if feature.kind is FeatureKind.BOOLEAN:
        return float(most)
    return float(most + 1) if most < len(feature.categories) else 0.0


def _description(manifest: Manifest, num_bytes: int, packages: Mapping[str, str], run_id: str) -> dict[str, Any]:
    features = [msgspec.to_builtins(feature) for feature in manifest.schema.features]
    return {
        "flavors": {
            "onnx": {
                "code": None,
                "data": ONNX,
                "onnx_session_options": None,
                "onnx_version": packages["onnx"],
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {
                "data": ONNX,
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.onnx",
                "python_version": platform.python_version(),
            },
        },
        "metadata": {"divisions": {"bundle_sha256": manifest.sha256, "features": features}},
        "mlflow_version": packages["mlflow"],
        "model_size_bytes": num_bytes,
        "model_uuid": manifest.sha256[:32],
        **({"run_id": run_id} if run_id else {}),
        "saved_input_example_info": {
            "artifact_path": EXAMPLE,
            "serving_input_path": SERVING_EXAMPLE,
            "type": "ndarray",
        },
        "signature": {
            "inputs": _tensor(GRAPH_INPUT, (-1, manifest.schema.num_columns)),
            "outputs": _tensor(GRAPH_OUTPUT, (-1,)),
            "params": None,
        },
    }


def _tensor(name: str, shape: tuple[int, ...]) -> str:
    """One tensor, as MLflow writes a signature."""
    return json.dumps([{"name": name, "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": list(shape)}}])


def _yaml(value: object) -> bytes:
    import yaml

    # ASCII: PyYAML does not read back each character that it writes plainly, such as a next line (U+0085).
    return yaml.safe_dump(value, sort_keys=True, width=float("inf")).encode()
