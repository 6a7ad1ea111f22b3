"""The torch engine's reading of graphs, on the CPU; captures need a GPU (tests/gpu)."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from divisions.errors import BundleError, EngineError
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.parity import check_parity
from serving.engines.torch_cuda import TorchEngine
from tests.serving.conftest import build_linear_model
from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels

COLUMNS = SCHEMA.num_columns


@pytest.fixture(scope="module")
def exported():
    from trainers.export import export_onnx
    from trainers.model import build_model

    return export_onnx(build_model(SCHEMA, rows_and_labels()[0], HYPERPARAMS).eval(), SCHEMA, {})


def test_an_exported_model_answers_as_on_onnxruntime(exported):
    engine = TorchEngine(exported, COLUMNS, "cpu")
    engine.warm(16)
    assert engine.name == "torch-cpu"
    assert 0.0 <= check_parity(engine, OnnxRuntimeEngine(exported, COLUMNS), 16, "fp32") < 1e-5


def test_scores_are_float32_and_the_callers(exported):
    engine = TorchEngine(exported, COLUMNS, "cpu")
    rows = rows_and_labels(seed=3)[0][:5]
    rows.flags.writeable = False
    first = engine.run(rows)
    kept = first.copy()
    engine.run(np.zeros((5, COLUMNS), np.float32))
    assert (first.shape, first.dtype, first.tolist()) == ((5,), np.float32, kept.tolist())


def test_a_graph_with_an_operator_that_it_does_not_know_is_refused():
    proto = build_linear_model()
    proto.graph.node[0].op_type = "Einsum"
    with pytest.raises(EngineError, match="does not know the operators Einsum"):
        TorchEngine(proto.SerializeToString(), 3, "cpu")


def test_other_columns_outside_data_and_other_answers_are_refused():
    model = build_linear_model().SerializeToString()
    with pytest.raises(BundleError, match=r"schema says float32\[N, 4\]"):
        TorchEngine(model, 4, "cpu")
    proto = onnx.ModelProto.FromString(model)
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(BundleError, match="in another file"):
        TorchEngine(proto.SerializeToString(), 3, "cpu")
    engine = TorchEngine(build_linear_model(("N", 1)).SerializeToString(), 3, "cpu")
    with pytest.raises(BundleError, match="answers 1 rows"):
        engine.warm(2)


def test_cuda_without_a_gpu_is_an_engine_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match="cannot use CUDA"):
        TorchEngine(build_linear_model().SerializeToString(), 3, "cuda")
