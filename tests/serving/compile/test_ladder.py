"""Every engine of the ladder is made to fail. Which engine serves instead, and why?

``pytest tests/serving/compile/test_ladder.py -s -q -p no:randomly`` prints both for each failure. The reason is the one
in ``divisions status`` and in the metrics. TensorRT and the GPU are fakes. ONNX Runtime is the real one; its CUDA
provider is not in the CPU's build, so the CPU provider takes its place where that engine is to work.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from divisions.bundle import ONNX, ONNX_FP16, Manifest, file_sha256, write_manifest
from divisions.control import EngineChoice
from divisions.errors import BundleError, EngineUnavailableError, OverCommitError
from divisions.settings import runtime_dir
from serving.compile import opening as opening_module
from serving.compile.gpu_memory import Claim, process_start
from serving.compile.opening import EngineOpener
from serving.engines.capabilities import Capabilities
from serving.engines.cuda_driver import GpuProbe
from serving.engines.onnx_runtime import OnnxRuntimeEngine, Provider
from serving.replica import replica as replica_module
from serving.replica.replica import open_version
from tests.serving.conftest import WEIGHTS, build_linear_model
from tests.serving.fake_cuda import T4, T4_PROBE, FakeCuda
from tests.serving.fake_tensorrt import FakeTensorRt

ROWS = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


class Machine:
    """A machine with one T4 on which everything works, until a test breaks something."""

    def __init__(self) -> None:
        self.cuda = FakeCuda()
        self.trt = FakeTensorRt(self.cuda)
        self.probe = T4_PROBE
        self.missing: dict[EngineChoice, str] = {}
        self.onnxruntime = "works"
        self.half_is_wrong = False
        self.whole_is_broken = False
        self.num_gpus = 0.5


class OnnxRuntimeOnThisMachine(OnnxRuntimeEngine):
    """The real engine, with a CUDA provider that works or fails as the machine says."""

    machine: Machine

    def __init__(self, model, columns, provider=Provider.CPU, limits=None):
        is_stood_in_for = provider is not Provider.CPU and self.machine.onnxruntime != "does not open"
        super().__init__(model, columns, Provider.CPU if is_stood_in_for else provider, limits)
        self._is_on_gpu = is_stood_in_for
        if is_stood_in_for:
            self.name = f"onnxruntime-{provider.name.lower()}-{limits.precision}"

    def run(self, rows_NF):
        if self._is_on_gpu and self.machine.onnxruntime == "is out of memory":
            raise RuntimeError("[ONNXRuntimeError] : 6 : Available memory of 0 is smaller than requested bytes of 64")
        is_wrong = self._is_on_gpu and self.machine.onnxruntime == "answers otherwise"
        return super().run(rows_NF) + np.float32(0.1 if is_wrong else 0.0)


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(OnnxRuntimeOnThisMachine, "machine", machine, raising=False)
    monkeypatch.setattr(opening_module, "OnnxRuntimeEngine", OnnxRuntimeOnThisMachine)
    monkeypatch.setattr(
        replica_module, "EngineOpener", lambda *given: EngineOpener(*given, cuda=machine.cuda, trt=machine.trt)
    )
    return machine


@pytest.fixture
def serve(machine, version_spec, settings, tmp_path):
    """Opens a version as a replica does: bundle, hashes, probe, ladder."""

    def serve_(choice=EngineChoice.AUTO):
        folder = tmp_path / "bundle-of-two"
        folder.mkdir(exist_ok=True)
        whole = build_linear_model().SerializeToString()
        wrong = build_linear_model()
        wrong.graph.initializer[0].raw_data = np.full(3, 7.0, np.float32).tobytes()
        half = wrong.SerializeToString() if machine.half_is_wrong else whole
        (folder / ONNX).write_bytes(b"not an onnx file" if machine.whole_is_broken else whole)
        (folder / ONNX_FP16).write_bytes(half)
        files = {name: file_sha256(folder / name) for name in (ONNX, ONNX_FP16)}
        manifest = Manifest("linear", "linear-v1", "run", "2025-01-14", version_spec.schema, {}, files)
        changes = {"bundle_path": str(folder), "bundle_sha256": write_manifest(folder, manifest), "engine": choice}
        spec = msgspec.structs.replace(version_spec, num_gpus=machine.num_gpus, vram_gb=16.0, **changes)
        return open_version(spec, settings, random.Random(0), lambda _: Capabilities(machine.probe, machine.missing))

    return serve_


def breaks(**fields: object) -> Callable[[Machine], None]:
    def break_(machine: Machine) -> None:
        for name, value in fields.items():
            (target,) = (one for one in (machine, machine.trt, machine.cuda) if hasattr(one, name))
            setattr(target, name, value)

    return break_


NO_TENSORRT = {EngineChoice.TENSORRT: "tensorrt is not installed"}
ON_A_GPU = [one for one in EngineChoice if one not in {EngineChoice.AUTO, EngineChoice.ONNXRUNTIME_CPU}]
NOTHING = dict.fromkeys(ON_A_GPU, "the driver sees no GPU")
NULL = "tensorrt-fp16, tensorrt: TensorRT failed with TypeError: pybind11::init(): factory function returned nullptr"
NO_PLAN = "tensorrt-fp16, tensorrt: TensorRT built nothing: Error Code 10: could not find any implementation"

RUNGS = {
    "nothing": (breaks(), "tensorrt-fp16", ""),
    "the float16 graph is wrong": (
        breaks(half_is_wrong=True),
        "tensorrt-fp32",
        "tensorrt-fp16: tensorrt-fp16 differs from onnxruntime-cpu by",
    ),
    "one build gives no plan": (breaks(builds_to_fail=1), "tensorrt-fp16", ""),
    "one plan answers otherwise": (breaks(builds_to_spoil=1), "tensorrt-fp16", ""),
    "no CUDA graph can be captured": (breaks(capture_fails=True), "tensorrt-fp16", ""),
    "no build gives a plan": (breaks(builds_to_fail=99), "onnxruntime-cuda-fp16", NO_PLAN),
    "every plan answers otherwise": (
        breaks(builds_to_spoil=99),
        "onnxruntime-cuda-fp16",
        "tensorrt-fp32 differs from onnxruntime-cpu by 0.058 in a batch of 1 (tolerance 0.0001)",
    ),
    "the builder is a null pointer": (breaks(null="Builder"), "onnxruntime-cuda-fp16", NULL),
    "the runtime is a null pointer": (breaks(null="Runtime"), "onnxruntime-cuda-fp16", NULL),
    "TensorRT is too old": (
        breaks(__version__="10.9.0"),
        "onnxruntime-cuda-fp16",
        "tensorrt-fp16, tensorrt: TensorRT 10.9.0 is too old",
    ),
    "the plan needs more than the share": (
        breaks(activation_bytes=4_000_000_000),
        "onnxruntime-cuda-fp16",
        "tensorrt-fp16, tensorrt: the plan needs 8,000.0 MB of the GPU",
    ),
    "the GPU's memory is full": (
        breaks(memory_bytes=100),
        "onnxruntime-cuda-fp16",
        "tensorrt-fp16, tensorrt: cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY",
    ),
    "TensorRT is not installed": (
        breaks(missing=NO_TENSORRT),
        "onnxruntime-cuda-fp16",
        "tensorrt: tensorrt is not installed",
    ),
    "… and ONNX Runtime's CUDA does not open": (
        breaks(missing=NO_TENSORRT, onnxruntime="does not open"),
        "onnxruntime-cpu",
        "onnxruntime-cuda: ONNX Runtime did not open CUDAExecutionProvider, only CPUExecutionProvider",
    ),
    "… and ONNX Runtime runs out of the GPU's memory": (
        breaks(missing=NO_TENSORRT, onnxruntime="is out of memory"),
        "onnxruntime-cpu",
        "onnxruntime-cuda failed with RuntimeError: [ONNXRuntimeError] : 6 : Available memory of 0",
    ),
    "… and ONNX Runtime on CUDA answers otherwise": (
        breaks(missing=NO_TENSORRT, onnxruntime="answers otherwise"),
        "onnxruntime-cpu",
        "onnxruntime-cuda: onnxruntime-cuda-fp32 differs from onnxruntime-cpu by 0.058",
    ),
    "there is no GPU": (
        breaks(probe=GpuProbe(reason="the driver sees no GPU"), missing=NOTHING),
        "onnxruntime-cpu",
        "tensorrt, onnxruntime-cuda: the driver sees no GPU",
    ),
}


def tell(broken: str, outcome: str, reason: str) -> None:
    print(f"\nbroken: {broken}\n   -> {outcome}\n      {reason or 'nothing was passed over'}")


@pytest.mark.parametrize("broken", RUNGS)
def test_the_next_engine_serves_and_the_reason_is_shown(machine, serve, broken):
    break_, engine, reason = RUNGS[broken]
    break_(machine)
    opened = serve()
    tell(broken, opened.engine.name, opened.note)
    assert opened.engine.name == engine
    assert reason in opened.note
    assert bool(reason) == bool(opened.note)
    np.testing.assert_allclose(opened.engine.run(ROWS), ROWS @ WEIGHTS, rtol=1e-5)
    if engine.startswith("tensorrt"):
        assert opened.engine.has_graphs is not machine.cuda.capture_fails


def test_without_a_working_cpu_engine_the_start_fails(machine, serve):
    machine.whole_is_broken = True
    with pytest.raises(BundleError, match="not an ONNX file") as caught:
        serve()
    tell("the model itself", "the replica does not start", str(caught.value))


def test_a_gpu_that_others_have_taken_is_refused_with_the_sum(machine, serve, settings):
    book = runtime_dir(settings.home) / f"gpu-{T4.uuid}.json"
    book.parent.mkdir(parents=True, exist_ok=True)
    book.write_bytes(msgspec.json.encode([Claim(1, process_start(1) or 0, "churn-v1", 12_000_000_000)]))
    with pytest.raises(OverCommitError, match=r"12\.00 \(churn-v1\) \+ 7\.92 \(linear-v1\.1\) = 19\.92 GB") as caught:
        serve()
    tell("other replicas have three quarters of the GPU", "the replica does not start", str(caught.value))


@pytest.mark.parametrize("choice", NOTHING)
def test_a_forced_engine_without_a_gpu_is_a_start_up_error_with_the_remedy(machine, serve, choice):
    breaks(probe=GpuProbe(reason="the driver sees no GPU"), missing=NOTHING)(machine)
    with pytest.raises(EngineUnavailableError, match=f"must run on {choice}.*the driver sees no GPU") as caught:
        serve(choice)
    assert "set serving.engine: auto" in str(caught.value)
    tell(f"there is no GPU, and the file says engine: {choice}", "the replica does not start", str(caught.value))


def test_every_engine_of_the_ladder_was_made_to_fail():
    from serving.engines.selection import LADDER

    reasons = " ".join(reason for _, _, reason in RUNGS.values())
    served = {engine for _, engine, _ in RUNGS.values()}
    assert all(str(rung) in reasons for rung in LADDER[:-1])
    assert all(any(engine.startswith(str(rung)) for engine in served) for rung in LADDER)
