from __future__ import annotations

import contextlib
import ctypes

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from divisions.errors import BundleError, EngineError
from serving.engines import onnx_runtime
from serving.engines.external_data import refuse_external_data
from serving.engines.onnx_runtime import GpuLimits, OnnxRuntimeEngine, Provider, provider_options


@pytest.fixture
def engine(linear_model) -> OnnxRuntimeEngine:
    engine = OnnxRuntimeEngine(linear_model().SerializeToString(), 3)
    engine.warm(16)
    return engine


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 16, 17, 40])
def test_it_scores_any_number_of_rows(engine, weights, rows: int) -> None:
    batch = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    for _ in range(2):
        scores = engine.run(batch)
        assert (scores.shape, scores.dtype) == ((rows,), np.float32)
        np.testing.assert_allclose(scores, batch @ weights, rtol=1e-5, atol=1e-6)


def test_it_works_before_it_is_warm(linear_model, weights) -> None:
    engine = OnnxRuntimeEngine(linear_model().SerializeToString(), 3)
    assert engine.run(np.ones((2, 3), np.float32)).tolist() == [weights.sum()] * 2


def test_scores_belong_to_the_caller(engine) -> None:
    first = engine.run(np.ones((4, 3), np.float32))
    kept = first.copy()
    engine.run(np.zeros((4, 3), np.float32))
    assert first.tolist() == kept.tolist()


class CopiesWhenBound:
    """A session as on a GPU: what is bound is copied there at once. What comes into the buffer later is not seen."""

    def __init__(self, session) -> None:
        self._session = session

    def __getattr__(self, name: str):
        return getattr(self._session, name)

    def io_binding(self):
        real, kept = self._session.io_binding(), []

        class Binding:
            def bind_input(self, name, device, number, kind, shape, address):
                there = np.ctypeslib.as_array((ctypes.c_float * int(np.prod(shape))).from_address(address)).copy()
                kept.append(there)
                real.bind_input(name, device, number, kind, shape, there.ctypes.data)

            def bind_output(self, *arguments):
                real.bind_output(*arguments)

        binding = Binding()
        binding.real = real
        return binding

    def run_with_iobinding(self, binding) -> None:
        self._session.run_with_iobinding(binding.real)


def test_on_a_gpu_each_request_gets_the_scores_of_its_own_rows(linear_model, weights, monkeypatch) -> None:
    """Seen on an H100: with a kept binding, all got the score of the zeros of the warm-up."""
    opened = onnx_runtime._open_session
    monkeypatch.setattr(
        onnx_runtime, "_open_session", lambda model, *_: CopiesWhenBound(opened(model, Provider.CPU, None))
    )
    engine = OnnxRuntimeEngine(linear_model().SerializeToString(), 3, Provider.CUDA, GpuLimits(1 << 30, 3, 16))
    engine.warm(16)
    for rows in (1, 3, 16, 40):
        batch = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
        np.testing.assert_allclose(engine.run(batch), batch @ weights, rtol=1e-5, atol=1e-6)


def test_rows_of_a_frame_are_taken_as_they_are(engine, weights) -> None:
    frame = np.frombuffer(np.ones((2, 3), np.float32).tobytes(), np.float32).reshape(2, 3)
    assert not frame.flags.writeable
    assert engine.run(frame).tolist() == [weights.sum()] * 2


def test_a_model_for_other_columns_is_refused(linear_model) -> None:
    with pytest.raises(BundleError, match=r"schema says float32\[N, 4\]"):
        OnnxRuntimeEngine(linear_model().SerializeToString(), 4)


def test_a_model_that_answers_another_shape_is_refused(linear_model) -> None:
    engine = OnnxRuntimeEngine(linear_model(("N", 1)).SerializeToString(), 3)
    with pytest.raises(BundleError, match=r"answers 1 rows with float32\[1, 1\]"):
        engine.warm(4)


@pytest.mark.parametrize("model", [b"", b"not an onnx file", bytes(100)])
def test_bytes_that_are_no_model_are_refused(model: bytes) -> None:
    with pytest.raises(BundleError):
        OnnxRuntimeEngine(model, 3)


def outside(tensor: onnx.TensorProto) -> onnx.TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def test_external_data_is_refused(linear_model) -> None:
    model = linear_model()
    outside(model.graph.initializer[0])
    with pytest.raises(BundleError, match="'weights' of the model keeps its values in another file"):
        OnnxRuntimeEngine(model.SerializeToString(), 3)


def test_external_data_is_found_in_constants_branches_and_functions(linear_model) -> None:
    hidden = outside(TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1]))
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])])
    in_branch = helper.make_node("If", ["condition"], ["d"], then_branch=branch, else_branch=branch)
    function = helper.make_function("own", "F", [], ["c"], [constant], [helper.make_opsetid("", 17)])
    for nodes, functions in (([constant], []), ([in_branch], []), ([], [function])):
        model = linear_model()
        refuse_external_data(model.SerializeToString())
        model.graph.node.extend(nodes)
        model.functions.extend(functions)
        with pytest.raises(BundleError, match="'hidden'"):
            refuse_external_data(model.SerializeToString())


def test_a_missing_provider_is_an_engine_error(linear_model) -> None:
    with pytest.raises(EngineError, match="did not open CUDAExecutionProvider, only CPUExecutionProvider"):
        OnnxRuntimeEngine(linear_model().SerializeToString(), 3, Provider.CUDA, GpuLimits(1_000, 3, 8))


def test_the_arena_ends_at_the_replicas_share() -> None:
    ((name, cuda),) = provider_options(Provider.CUDA, GpuLimits(123_456, 3, 8))
    assert (name, cuda["gpu_mem_limit"], cuda["arena_extend_strategy"]) == (
        "CUDAExecutionProvider",
        "123456",
        "kSameAsRequested",
    )
    assert cuda["use_tf32"] == "0"


def test_tensorrt_inside_onnxruntime_has_one_profile_and_the_same_cap_behind_it() -> None:
    tensorrt, cuda = provider_options(Provider.TENSORRT, GpuLimits(400_000, 3, 8))
    assert tensorrt[0] == "TensorrtExecutionProvider"
    assert tensorrt[1]["trt_profile_min_shapes"] == "rows:1x3"
    assert tensorrt[1]["trt_profile_max_shapes"] == "rows:8x3"
    assert tensorrt[1]["trt_max_workspace_size"] == "100000"
    # Nobody signs what it would write there, and it would read it again.
    assert not [name for name in tensorrt[1] if "cache" in name]
    assert cuda[1]["gpu_mem_limit"] == "400000"


@pytest.mark.parametrize(("provider", "times"), [(Provider.CPU, 0), (Provider.CUDA, 1), (Provider.TENSORRT, 1)])
def test_nvidias_wheels_are_loaded_for_a_gpu_and_in_silence(linear_model, monkeypatch, capfd, provider, times) -> None:
    import onnxruntime

    calls = []

    def preload() -> None:
        calls.append(provider)
        print("Failed to load libcudnn.so.9")  # as the real one does; `divisions compile --output json` prints JSON

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
    with contextlib.suppress(EngineError):
        OnnxRuntimeEngine(linear_model().SerializeToString(), 3, provider, GpuLimits(1_000, 3, 8))
    assert len(calls) == times
    assert "libcudnn" not in capfd.readouterr().out


def test_the_cpu_takes_no_options() -> None:
    assert provider_options(Provider.CPU, None) == [("CPUExecutionProvider", {})]
