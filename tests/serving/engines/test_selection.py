"""The ladder: each rung is made to fail, and the next one serves with the reason told."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from divisions.bundle import MANIFEST, ONNX, ONNX_FP16
from divisions.control import EngineChoice
from divisions.errors import BundleError, EngineError, EngineUnavailableError, OverCommitError
from serving.compile.gpu_memory import CONTEXT_BYTES, GpuLedger
from serving.compile.opening import EngineOpener, EngineRequest, Models
from serving.engines.capabilities import Capabilities, probe_capabilities
from serving.engines.cuda_driver import GpuProbe
from serving.engines.selection import LADDER, OpenedEngine, candidates, open_best
from serving.replica.replica import open_version
from tests.serving.conftest import build_linear_model
from tests.serving.fake_cuda import T4, T4_PROBE, FakeCuda
from tests.serving.fake_tensorrt import FakeTensorRt
from tests.serving.function_engine import FunctionEngine

ALL = Capabilities(T4_PROBE)
ENGINE = FunctionEngine(3, lambda rows: rows[:, 0])
TRT, CUDA, CPU = LADDER


def openers(**errors):
    """Openers that give an engine named after their rung, or the error."""

    def opener(choice):
        def open_():
            if choice.name in errors:
                raise errors[choice.name]
            engine = FunctionEngine(3, lambda rows: rows[:, 0])
            engine.name = choice.value
            return engine

        return open_

    return {choice: opener(choice) for choice in EngineChoice if choice is not EngineChoice.AUTO}


def test_the_best_engine_is_taken_if_all_work():
    opened = open_best(EngineChoice.AUTO, ALL, openers())
    assert (opened.engine.name, opened.passed_over, opened.note) == ("tensorrt", (), "")


def test_each_failing_engine_leaves_its_reason_and_the_next_serves():
    tensorrt, bundle = EngineError("TensorRT built nothing: no kernel"), BundleError("the arena is full")
    opened = open_best(EngineChoice.AUTO, ALL, openers(TENSORRT=tensorrt))
    assert (opened.engine.name, opened.note) == ("onnxruntime-cuda", "tensorrt: TensorRT built nothing: no kernel")
    opened = open_best(EngineChoice.AUTO, ALL, openers(TENSORRT=tensorrt, ONNXRUNTIME_CUDA=bundle))
    assert opened.engine.name == "onnxruntime-cpu"
    assert opened.note == "tensorrt: TensorRT built nothing: no kernel; onnxruntime-cuda: the arena is full"


def test_if_the_cpu_fails_too_no_engine_is_left():
    with pytest.raises(BundleError, match="not a model"):
        open_best(
            EngineChoice.AUTO,
            ALL,
            openers(
                TENSORRT=EngineError(""), ONNXRUNTIME_CUDA=EngineError(""), ONNXRUNTIME_CPU=BundleError("not a model")
            ),
        )


def test_a_full_gpu_is_refused_without_a_fallback():
    with pytest.raises(OverCommitError, match="sum"):
        open_best(EngineChoice.AUTO, ALL, openers(TENSORRT=OverCommitError("sum")))


@pytest.mark.parametrize("wanted", [choice for choice in EngineChoice if choice is not EngineChoice.AUTO])
def test_a_forced_engine_opens_or_is_an_error_with_the_remedy(wanted):
    assert open_best(wanted, ALL, openers()).engine.name == wanted.value
    with pytest.raises(EngineUnavailableError, match=f"must run on {wanted}.*: broken.*serving.engine: auto"):
        open_best(wanted, ALL, openers(**{wanted.name: EngineError("broken")}))


def test_a_forced_engine_that_is_missing_is_refused_before_it_is_tried():
    missing = Capabilities(GpuProbe(reason="no driver"), dict.fromkeys(set(EngineChoice) - {CPU}, "no driver"))
    with pytest.raises(EngineUnavailableError, match="must run on tensorrt, which cannot be had here: no driver"):
        open_best(TRT, missing, {})


def test_equal_reasons_are_shown_once():
    assert OpenedEngine(ENGINE, ("a: x", "b: x", "c: y: z")).note == "a, b: x; c: y: z"


def test_a_process_without_a_share_of_a_gpu_does_not_ask_for_one():
    def never():
        raise AssertionError("asked")

    capabilities = probe_capabilities(0.0, probe=never, providers=never)
    assert candidates(EngineChoice.AUTO, capabilities) == (
        (CPU,),
        ("tensorrt: no GPU was asked for", "onnxruntime-cuda: no GPU was asked for"),
    )


def test_without_a_driver_no_library_is_looked_for():
    def never(*_):
        raise AssertionError("looked for")

    capabilities = probe_capabilities(
        0.5, probe=lambda: GpuProbe(reason="no driver"), providers=never, is_installed=never
    )
    assert set(capabilities.missing) == set(EngineChoice) - {EngineChoice.AUTO, CPU}
    assert set(capabilities.missing.values()) == {"no driver"}


def test_with_a_gpu_each_missing_library_has_its_remedy():
    capabilities = probe_capabilities(
        0.5,
        probe=lambda: T4_PROBE,
        providers=lambda: ["CPUExecutionProvider"],
        is_installed=lambda name: name == "torch",
    )
    assert "docs/gpu.md says how" in capabilities.missing[TRT]
    assert "no CUDA support" in capabilities.missing[CUDA]
    assert EngineChoice.TORCH not in capabilities.missing
    there = ["CUDAExecutionProvider", "TensorrtExecutionProvider"]
    whole = probe_capabilities(0.5, probe=lambda: T4_PROBE, providers=lambda: there, is_installed=lambda _: True)
    assert whole.missing == {}


def test_onnx_runtime_names_its_tensorrt_provider_although_tensorrt_is_absent():
    there = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    found = probe_capabilities(
        0.5, probe=lambda: T4_PROBE, providers=lambda: there, is_installed=lambda name: name != "tensorrt"
    )
    assert set(found.missing) == {TRT, EngineChoice.ONNXRUNTIME_TENSORRT}


def test_a_torch_built_for_cpus_does_not_count(monkeypatch):
    """PyTorch's index marks its builds so; importing it to ask would take seconds."""
    from serving.engines import capabilities as module

    for version, is_there in (("2.13.0+cpu", False), ("2.13.0+cu130", True), ("2.13.0", True)):
        monkeypatch.setattr(module, "versions", lambda version=version: {"torch": version})
        found = probe_capabilities(0.5, probe=lambda: T4_PROBE, providers=list)
        assert (EngineChoice.TORCH not in found.missing) is is_there


# A GPU-less process never gets as far as TensorRT's Runtime, which would end it

CRASHING = """
import os, sys, types
tensorrt = types.ModuleType("tensorrt")
tensorrt.__version__ = "11.4.0.106"
tensorrt.Runtime = tensorrt.Builder = tensorrt.Logger = lambda *_: os.abort()
tensorrt.__spec__ = types.SimpleNamespace(name="tensorrt", loader=None, parent="")
sys.modules["tensorrt"] = tensorrt
import random
import msgspec
from pathlib import Path
from divisions.control import VersionSpec
from divisions.settings import Settings
from serving.replica.replica import open_version
spec = msgspec.json.decode(sys.stdin.buffer.read(), type=VersionSpec)
opened = open_version(spec, Settings(home=Path(sys.argv[1])), random.Random(0))
print(opened.engine.name, "|", opened.note)
print("torch" in sys.modules)
"""


def test_a_replica_that_asks_for_a_gpu_where_there_is_none_serves_on_the_cpu(version_spec, tmp_path):
    from serving.engines.cuda_driver import probe_gpus

    if probe_gpus().gpus:
        pytest.skip("this machine has a GPU")
    spec = msgspec.structs.replace(version_spec, num_gpus=0.5)
    done = subprocess.run(
        [sys.executable, "-c", CRASHING, str(tmp_path)],
        input=msgspec.json.encode(spec),
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    engine, imported = done.stdout.decode().splitlines()
    assert engine.startswith("onnxruntime-cpu | tensorrt, onnxruntime-cuda: ")
    assert "driver" in engine
    assert imported == "False"


# The candidates themselves, from a bundle to an answering engine, on a GPU that is a fake


@pytest.fixture
def cuda():
    return FakeCuda()


@pytest.fixture
def trt(cuda):
    return FakeTensorRt(cuda)


def opening(tmp_path, cuda, trt, half=b"", whole=None, **changes):
    whole = whole or build_linear_model().SerializeToString()
    fields = {"choice": EngineChoice.AUTO, "num_gpus": 0.5, "vram_gb": 16.0, "max_batch": 8, **changes}
    return EngineOpener(
        EngineRequest("churn-v1", **fields), Models(whole, half, 3), tmp_path, tmp_path / "ledger", cuda, trt
    )


NO_ORT_CUDA = Capabilities(T4_PROBE, {CUDA: "the installed onnxruntime has no CUDA support"})


def test_tensorrt_opens_and_claims_its_share(tmp_path, cuda, trt, weights):
    opened = opening(tmp_path, cuda, trt).open(ALL)
    assert (opened.engine.name, opened.note) == ("tensorrt-fp32", "")
    batch = np.ones((3, 3), np.float32)
    np.testing.assert_allclose(opened.engine.run(batch), batch @ weights, rtol=1e-5)
    assert list(GpuLedger(tmp_path / "ledger").claims(T4.uuid).values()) == [T4.memory_bytes // 2]
    assert trt.workspace_bytes == 512 * 1024**2


def test_the_float16_graph_is_preferred_and_passed_over_when_it_is_wrong(tmp_path, cuda, trt):
    good = build_linear_model().SerializeToString()
    assert opening(tmp_path, cuda, trt, half=good).open(ALL).engine.name == "tensorrt-fp16"
    proto = build_linear_model()
    proto.graph.initializer[0].raw_data = np.full(3, 7.0, np.float32).tobytes()
    assert opening(tmp_path, cuda, trt, half=proto.SerializeToString()).open(ALL).engine.name == "tensorrt-fp32"


def test_onnxruntime_on_a_gpu_falls_back_to_the_float32_graph_too(tmp_path, cuda, trt, weights, monkeypatch):
    """The installed ONNX Runtime has no CUDA, so its CPU provider stands in: what is tested is the order of graphs."""
    from serving.compile import opening as module
    from serving.engines.onnx_runtime import OnnxRuntimeEngine

    opened = []

    def open_(model, columns, *_):
        opened.append(model)
        return OnnxRuntimeEngine(model, columns)

    monkeypatch.setattr(module, "OnnxRuntimeEngine", open_)
    proto = build_linear_model()
    proto.graph.initializer[0].raw_data = np.full(3, 7.0, np.float32).tobytes()
    half, whole = proto.SerializeToString(), build_linear_model().SerializeToString()
    engine = opening(tmp_path, cuda, trt, half=half, choice=CUDA).open(ALL).engine
    assert opened.index(half) < opened.index(whole)
    np.testing.assert_allclose(engine.run(np.ones((1, 3), np.float32)), [weights.sum()], rtol=1e-5)


def test_builds_that_fail_end_on_the_cpu_and_keep_no_more_than_cudas_context(tmp_path, cuda, trt, weights):
    trt.builds_to_fail = 9
    opened = opening(tmp_path, cuda, trt).open(NO_ORT_CUDA)
    assert opened.engine.name == "onnxruntime-cpu"
    assert "tensorrt: TensorRT built nothing: Error Code 10" in opened.note
    assert list(GpuLedger(tmp_path / "ledger").claims(T4.uuid).values()) == [CONTEXT_BYTES]
    np.testing.assert_allclose(opened.engine.run(np.ones((1, 3), np.float32)), [weights.sum()], rtol=1e-5)


def test_an_engine_with_other_scores_ends_on_the_cpu(tmp_path, cuda, trt):
    trt.builds_to_spoil = 9
    opened = opening(tmp_path, cuda, trt).open(NO_ORT_CUDA)
    assert opened.engine.name == "onnxruntime-cpu"
    assert "tensorrt: tensorrt-fp32 differs from onnxruntime-cpu by" in opened.note


def test_an_onnxruntime_whose_cuda_does_not_open_ends_on_the_cpu(tmp_path, cuda, trt):
    trt.builds_to_fail = 9
    opened = opening(tmp_path, cuda, trt).open(ALL)  # the installed onnxruntime is a CPU build
    assert opened.engine.name == "onnxruntime-cpu"
    assert "onnxruntime-cuda: ONNX Runtime did not open CUDAExecutionProvider" in opened.note


def test_a_forced_tensorrt_that_fails_is_a_start_up_error(tmp_path, cuda, trt):
    trt.builds_to_fail = 9
    with pytest.raises(EngineUnavailableError, match=r"must run on tensorrt.*built nothing.*serving\.engine: auto"):
        opening(tmp_path, cuda, trt, choice=TRT).open(ALL)


def test_a_share_too_small_for_an_engine_is_refused(tmp_path, cuda, trt):
    with pytest.raises(OverCommitError, match="process takes 450 MB before"):
        opening(tmp_path, cuda, trt, num_gpus=0.01).open(ALL)


def test_one_changed_byte_of_a_bundle_is_refused_before_any_engine(version_spec, settings, tmp_path):
    """Every byte of either graph and of the manifest."""
    from divisions.bundle import Manifest, file_sha256, write_manifest

    folder = tmp_path / "both"
    folder.mkdir()
    model = build_linear_model().SerializeToString()
    for name in (ONNX, ONNX_FP16):
        (folder / name).write_bytes(model)
    files = {name: file_sha256(folder / name) for name in (ONNX, ONNX_FP16)}
    manifest = Manifest("linear", "linear-v1", "run", "2025-01-14", version_spec.schema, {}, files)
    sha256 = write_manifest(folder, manifest)
    spec = msgspec.structs.replace(version_spec, bundle_path=str(folder), bundle_sha256=sha256, num_gpus=0.5)

    def never(_):
        raise AssertionError("an engine was looked for")

    for name, refusal in ((ONNX, "was changed"), (ONNX_FP16, "was changed"), (MANIFEST, "not the one|damaged")):
        path = folder / name
        path.chmod(0o644)
        good = path.read_bytes()
        for at in range(len(good)):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
            with pytest.raises(BundleError, match=refusal):
                open_version(spec, settings, random.Random(0), probe=never)
        path.write_bytes(good)
    with pytest.raises(AssertionError, match="looked for"):
        open_version(spec, settings, random.Random(0), probe=never)


def test_faults_keep_the_engines_reasons(version_spec, settings):
    from divisions.control import Faults

    spec = msgspec.structs.replace(version_spec, faults=Faults(batch_delay_ms=1))
    opened = open_version(spec, dataclasses.replace(settings, allow_faults=True), random.Random(0))
    assert opened.engine.name == "onnxruntime-cpu (faults: batch_delay_ms=1)"
    assert opened.note == "tensorrt, onnxruntime-cuda: no GPU was asked for"
