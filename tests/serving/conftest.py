from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from divisions.bundle import ONNX, Manifest, write_manifest
from divisions.control import VersionSpec
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import Settings

WEIGHTS = np.array([0.5, -1.0, 2.0], np.float32)


def build_linear_model(output_dims: tuple[str | int, ...] = ("N",)) -> onnx.ModelProto:
    """``scores[N] = rows[N, 3] @ WEIGHTS``, with another output shape if asked for."""
    nodes = [helper.make_node("MatMul", ["rows", "weights"], ["product"])]
    shape = numpy_helper.from_array(np.array([-1, *output_dims[1:]], np.int64), "shape")
    nodes.append(helper.make_node("Reshape", ["product", "shape"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, list(output_dims))],
        [numpy_helper.from_array(WEIGHTS.reshape(3, 1), "weights"), shape],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def linear_model() -> Callable[..., onnx.ModelProto]:
    return build_linear_model


@pytest.fixture
def weights() -> np.ndarray:
    return WEIGHTS


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: pytest's own are too long for AF_UNIX."""
    folder = Path(tempfile.mkdtemp(prefix="dv"))
    yield folder
    for path in folder.rglob("*"):
        os.chmod(path, 0o700)
    shutil.rmtree(folder)


@pytest.fixture
def schema() -> FeatureSchema:
    return FeatureSchema(tuple(Feature(name, FeatureKind.NUMERIC) for name in ("a", "b", "c")))


@pytest.fixture
def version_spec(tmp_path: Path, schema: FeatureSchema) -> VersionSpec:
    """A version with a real bundle around the linear model."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    model = build_linear_model().SerializeToString()
    (folder / ONNX).write_bytes(model)
    manifest = Manifest(
        "linear", "linear-v1", "run", "2025-01-14", schema, {}, {ONNX: hashlib.sha256(model).hexdigest()}
    )
    sha256 = write_manifest(folder, manifest)
    return VersionSpec("linear", "1.1", str(folder), sha256, schema, replicas=1, num_cpus=0.5, max_batch=16)


@pytest.fixture
def settings(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(tempfile, "tempdir", str(short_path))
    (short_path / "home").mkdir()
    return Settings(home=short_path / "home")
