"""The torch engine's reading of graphs, on the CPU; captures need a GPU (tests/gpu)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from divisions.errors import BundleError, EngineError
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.parity import check_parity
from serving.engines.torch_cuda import TorchEngine
from tests.serving.conftest import build_linear_model
from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels

COLUMNS = SCHEMA.num_columns


@pytest.fixture(scope="module")
def exported():
    from trainers.export.onnx_export import export_onnx
    from trainers.training.model import build_model

    return export_onnx(build_model(SCHEMA, rows_and_labels()[0], HYPERPARAMS).eval(), SCHEMA, {})


def test_an_exported_model_answers_as_on_onnxruntime(exported):
    engine = TorchEngine(exported, COLUMNS, "cpu")
    engine.warm(16)
    assert engine.name == "torch-cpu"
    assert 0.0 <= check_parity(engine, OnnxRuntimeEngine(exported, COLUMNS), 16, "fp32") < 1e-5


def test_the_whole_graph_can_be_compiled(exported):
    """In one piece: a break in the graph would be an error here, and on a GPU leave kernels unfused."""
    engine = TorchEngine(exported, COLUMNS, "cpu", compiler="eager")
    engine.warm(16)
    assert engine.is_compiled
    assert 0.0 <= check_parity(engine, OnnxRuntimeEngine(exported, COLUMNS), 16, "fp32") < 1e-5


def test_all_captures_use_one_stream(exported):
    """Seen on an H100: cuBLAS keeps 32 MiB for each stream, and a stream per bucket filled a small share."""
    used = []

    class Stream:
        def wait_stream(self, other):
            pass

    def graph(captured, pool, stream):
        used.append(stream)
        return contextlib.nullcontext()

    def on(stream):
        used.append(stream)
        return contextlib.nullcontext()

    fake = SimpleNamespace(CUDAGraph=object, Stream=Stream, stream=on, current_stream=Stream, graph=graph)
    engine = TorchEngine(exported, COLUMNS, "cpu")
    engine._stream, engine._pool = Stream(), None

    def zeros(*size, pin_memory=False, **more):
        return torch.zeros(*size, **more)

    engine._torch = SimpleNamespace(cuda=fake, zeros=zeros, no_grad=torch.no_grad)
    for rows in (4, 2, 1):
        engine._capture(rows)
    assert set(used) == {engine._stream}


def test_the_float16_graph_runs_too(exported):
    from trainers.export.half_precision import half_precision

    engine = TorchEngine(half_precision(exported), COLUMNS, "cpu", "fp16", compiler="eager")
    engine.warm(16)
    assert 0.0 < check_parity(engine, OnnxRuntimeEngine(exported, COLUMNS), 16, "fp16") < 5e-3


def test_without_a_compiler_its_steps_run_one_by_one(exported, caplog):
    engine = TorchEngine(exported, COLUMNS, "cpu", compiler="none such")
    engine.warm(4)
    assert not engine.is_compiled
    assert "torch cannot compile the model" in caplog.text
    assert check_parity(engine, OnnxRuntimeEngine(exported, COLUMNS), 4, "fp32") < 1e-5


COMPILE = """
import os, sys, stat
from pathlib import Path
import numpy as np
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.parity import check_parity
from serving.engines.torch_cuda import COMPILER, TorchEngine
model, columns = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
engine = TorchEngine(model, columns, "cpu", compiler=COMPILER)
engine.warm(4)
folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
assert engine.is_compiled and any(folder.iterdir())
assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
assert check_parity(engine, OnnxRuntimeEngine(model, columns), 4, "fp32") < 1e-5
print(folder.parent)
"""


@pytest.mark.e2e
@pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles for the CPU with g++, which is not there")
def test_torchs_compiler_answers_as_onnxruntime_and_leaves_nothing_behind(exported, tmp_path):
    (tmp_path / "model.onnx").write_bytes(exported)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TORCHINDUCTOR", "TRITON"))
    }
    command = [sys.executable, "-c", COMPILE, str(tmp_path / "model.onnx"), str(COLUMNS)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert not Path(done.stdout.decode().split()[-1]).exists()


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


def test_wrong_columns_external_data_and_wrong_results_are_refused():
    model = build_linear_model().SerializeToString()
    with pytest.raises(BundleError, match=r"schema says float32\[N, 4\]"):
        TorchEngine(model, 4, "cpu")
    proto = onnx.ModelProto.FromString(model)
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(BundleError, match="in another file"):
        TorchEngine(proto.SerializeToString(), 3, "cpu")
    engine = TorchEngine(build_linear_model(("N", 1)).SerializeToString(), 3, "cpu")
    with pytest.raises(BundleError, match="answers 2 rows"):
        engine.warm(2)


def test_cuda_without_a_gpu_is_an_engine_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match="cannot use CUDA"):
        TorchEngine(build_linear_model().SerializeToString(), 3, "cuda")
