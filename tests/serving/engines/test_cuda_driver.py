"""`CudaDriver` through NVIDIA's own binding, on a driver library that is compiled for the test (`fake_libcuda.c`).

The binding loads the driver's library once per process, so each test asks a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from divisions.errors import EngineError
from serving.engines.cuda_driver import CudaDriver, probe_gpus

SOURCE = Path(__file__).parents[1] / "fake_libcuda.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
HIGH = 0x7F12_3456_7000
"""An address beyond 32 bits, as the library gives: it must come through whole."""

needs_a_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler for the fake driver")

PROBE = """
probe = probe_gpus()
result = [[list(gpu.compute_capability), gpu.name, gpu.memory_bytes, gpu.uuid, gpu.driver] for gpu in probe.gpus]
result.append(probe.reason)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libcuda.so.1"
    command = [COMPILER, "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, SOURCE, "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def run_on(folder: Path, log: Path, code: str, **fake: str):
    """Runs code in a process whose driver is the fake; returns its ``result`` and the driver's calls."""
    program = (
        "import json\nfrom divisions.errors import EngineError\n"
        f"from serving.engines.cuda_driver import CudaDriver, probe_gpus\n{code}\nprint(json.dumps(result))"
    )
    settings = {f"FAKE_CUDA_{name.upper()}": value for name, value in fake.items()}
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "FAKE_CUDA_LOG": str(log), **settings}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True, timeout=300
    )
    calls = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return json.loads(done.stdout), [(name, *(int(value, 16) for value in values)) for name, *values in calls]


@needs_a_compiler
def test_a_t4_is_described(folder, tmp_path):
    result, _ = run_on(folder, tmp_path / "log", PROBE)
    assert result == [[[7, 5], "Tesla T4", 15_843_721_216, bytes(range(16)).hex(), "12.8"], ""]


@needs_a_compiler
def test_its_clocks_are_in_hertz(folder, tmp_path):
    code = """
rates = CudaDriver().rates(0)
result = [rates.memory_clock_hz, rates.bus_bits, rates.clock_hz, rates.multiprocessors]
"""
    result, _ = run_on(folder, tmp_path / "log", code)
    assert result == [5_001e6, 256, 1_590e6, 40]


@needs_a_compiler
@pytest.mark.parametrize(
    ("fake", "reason"),
    [
        ({"fail": "cuInit 100"}, "cuInit failed with CUDA_ERROR_NO_DEVICE"),
        ({"fail": "cuInit 98765"}, "cuInit failed: 98765"),
        ({"gpus": "0"}, "the NVIDIA driver lists no GPU"),
        ({"without": "cuDeviceGetUuid"}, "the NVIDIA driver has no cuDeviceGetUuid"),
        ({"without": "cuInit"}, "there is no NVIDIA driver"),
    ],
)
def test_a_driver_that_does_not_work_is_a_reason(folder, tmp_path, fake, reason):
    result, _ = run_on(folder, tmp_path / "log", PROBE, **fake)
    assert len(result) == 1
    assert result[0].startswith(reason)


@needs_a_compiler
def test_addresses_come_through_whole(folder, tmp_path):
    code = f"""
cuda = CudaDriver()
cuda.enter()
result = [cuda.allocate(16), cuda.allocate_pinned(16), list(cuda.memory())]
cuda.copy_to_device({HIGH}, {HIGH + 8}, 16, {HIGH + 1})
cuda.copy_to_host({HIGH + 8}, {HIGH}, 4, {HIGH + 1})
cuda.free({HIGH + 16})
cuda.free_pinned({HIGH + 32})
"""
    result, calls = run_on(folder, tmp_path / "log", code)
    assert result == [HIGH + 16, HIGH + 32, [1, 2]]
    assert calls == [
        ("cuInit", 0),
        ("cuCtxSetCurrent", HIGH),
        ("cuMemAlloc", 16),
        ("cuMemHostAlloc", 16, 0),
        ("cuMemcpyHtoDAsync", HIGH, HIGH + 8, 16, HIGH + 1),
        ("cuMemcpyDtoHAsync", HIGH + 8, HIGH, 4, HIGH + 1),
        ("cuMemFree", HIGH + 16),
        ("cuMemFreeHost", HIGH + 32),
    ]


@needs_a_compiler
def test_a_captured_graph_is_instantiated_and_its_template_destroyed(folder, tmp_path):
    code = """
cuda = CudaDriver()
stream = cuda.create_stream()
cuda.begin_capture(stream)
result = cuda.end_capture(stream)
cuda.launch(result, stream)
cuda.synchronize(stream)
cuda.destroy_graph(result)
cuda.destroy_stream(stream)
"""
    result, calls = run_on(folder, tmp_path / "log", code)
    assert result == HIGH + 2
    assert calls[1:] == [
        ("cuStreamCreate", 1),  # non-blocking: it does not wait for the default stream
        ("cuStreamBeginCapture", HIGH, 1),  # thread-local: other threads may go on using CUDA
        ("cuStreamEndCapture", HIGH),
        ("cuGraphInstantiateWithFlags", HIGH + 1, 0),
        ("cuGraphDestroy", HIGH + 1),
        ("cuGraphLaunch", HIGH + 2, HIGH),
        ("cuStreamSynchronize", HIGH),
        ("cuGraphExecDestroy", HIGH + 2),
        ("cuStreamDestroy", HIGH),
    ]


FAILED_CALL = """
try:
    {call}
    result = ""
except EngineError as error:
    result = str(error)
"""


@needs_a_compiler
@pytest.mark.parametrize(
    ("call", "fake", "error"),
    [
        ("CudaDriver().allocate(1)", {"fail": "cuMemAlloc 2"}, "cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY"),
        ("CudaDriver().end_capture(1)", {"no_graph": "1"}, "a CUDA graph could not be captured"),
        ("CudaDriver().launch(1, 1)", {"without": "cuGraphLaunch"}, "the NVIDIA driver has no cuGraphLaunch"),
    ],
)
def test_a_call_that_fails_is_an_error_of_ours(folder, tmp_path, call, fake, error):
    result, _ = run_on(folder, tmp_path / "log", FAILED_CALL.format(call=call), **fake)
    assert result.startswith(error)


@needs_a_compiler
def test_an_error_has_a_remedy(folder, tmp_path):
    code = FAILED_CALL.format(call="CudaDriver().allocate(1)")
    result, _ = run_on(folder, tmp_path / "log", code, fail="cuMemAlloc 2")
    assert "nvidia-smi" in result


def test_without_a_driver_the_reason_says_so():
    def no_library(flags):
        raise RuntimeError("libcuda.so.1 cannot be found\nand more")

    binding = SimpleNamespace(cuInit=no_library)
    assert probe_gpus(lambda: binding).reason == "there is no NVIDIA driver: libcuda.so.1 cannot be found"
    with pytest.raises(EngineError, match="nvidia-smi"):
        CudaDriver(lambda: binding)


def test_without_the_binding_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    probe = probe_gpus()
    assert (probe.gpus, probe.reason) == ((), "cuda-bindings is not installed: pip install 'divisions[gpu]'")
