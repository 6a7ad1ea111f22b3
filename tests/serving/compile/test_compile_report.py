from __future__ import annotations

import pytest

from divisions.bundle import read_bundle
from divisions.commands.compile import render_report
from serving.compile import compile_report
from serving.compile.compile_report import compile_version
from serving.compile.opening import EngineOpener
from serving.engines.capabilities import Capabilities
from serving.engines.cuda_driver import GpuProbe
from tests.serving.fake_cuda import T4_PROBE, FakeCuda
from tests.serving.fake_tensorrt import FakeTensorRt


@pytest.fixture
def compiled(version_spec, tmp_path, monkeypatch):
    cuda = FakeCuda()
    trt = FakeTensorRt(cuda)

    def compile_(probe=T4_PROBE, missing=None):
        monkeypatch.setattr(compile_report, "probe_capabilities", lambda _: Capabilities(probe, missing or {}))
        monkeypatch.setattr(compile_report, "EngineOpener", lambda *given: EngineOpener(*given, cuda=cuda, trt=trt))
        folder, home = tmp_path / "bundle", tmp_path / "home"
        manifest = read_bundle(folder, version_spec.bundle_sha256)
        return compile_version("linear", "1.1", folder, manifest, home, tmp_path / "ledger", 0.5, 16.0, 8)

    compile_.trt = trt
    return compile_


def test_a_plan_is_built_and_then_found(compiled):
    built, found = compiled(), compiled()
    assert (built.origin, found.origin, compiled.trt.num_builds) == ("built", "cached", 1)
    assert (built.gpu, built.engine, built.passed_over) == ("Tesla T4", "tensorrt-fp32", ())
    assert (built.key["compute_capability"], built.key["precision"]) == ("7.5", "fp32")
    text = render_report(built)
    assert "Engine:" in text
    assert "built in" in text
    assert built.plan_path in text


def test_without_a_gpu_it_shows_what_would_run(compiled):
    from divisions.control import EngineChoice

    missing = {EngineChoice.TENSORRT: "no driver", EngineChoice.ONNXRUNTIME_CUDA: "no driver"}
    report = compiled(GpuProbe(reason="no driver"), missing)
    assert (report.engine, report.origin, report.gpu) == ("onnxruntime-cpu", "", "")
    text = render_report(report)
    assert "none: this engine needs no compiling" in text
    assert "Passed over tensorrt: no driver" in text


def test_a_build_that_fails_names_the_next_engine(compiled):
    compiled.trt.builds_to_fail = 9
    report = compiled()
    assert report.engine == "onnxruntime-cuda"
    assert report.passed_over[0].startswith("tensorrt: TensorRT built nothing")
