"""Every engine on the real GPU: it answers as the CPU does, captures graphs, stays in its memory and shares the GPU."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engines.roofline import gpu_peak, roofline_ms
from divisions.control import EngineChoice
from divisions.errors import EngineError, OverCommitError
from serving.compile.engine_cache import EngineCache, cluster_secret
from serving.compile.gpu_memory import GpuLedger, memory_share
from serving.compile.opening import FOLDER, EngineOpener, EngineRequest, Models
from serving.compile.plans import Origin
from serving.engines.cuda_driver import CudaDriver, probe_gpus
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.parity import TOLERANCE, check_parity, probe_rows
from serving.engines.protocol import batch_buckets
from tests.trainers.churn import rows_and_labels
from trainers.export.half_precision import AUC_TOLERANCE
from trainers.export.onnx_export import score
from trainers.training.evaluate import auc

ROOT = Path(__file__).parents[2]

MAX_BATCH = 256
SLACK_BYTES = 250_000_000
"""What CUDA's context may take beyond its planned share, and the granularity of its allocations."""
GPU_ENGINES = (
    EngineChoice.TENSORRT,
    EngineChoice.ONNXRUNTIME_TENSORRT,
    EngineChoice.ONNXRUNTIME_CUDA,
    EngineChoice.TORCH,
)
SPEED = "Engines: largest difference from the CPU; median us (floor) for 1, 32 and 256 rows; rows per second"


def opening(models, folder, choice=EngineChoice.TENSORRT, num_gpus=0.5, max_batch=MAX_BATCH, vram_gb=None):
    return EngineOpener(
        EngineRequest("gpu-v1", choice, num_gpus, vram_gb, max_batch), models, folder, folder / "ledger"
    )


def require(capabilities, choice):
    if choice in capabilities.missing:
        pytest.skip(capabilities.missing[choice])


def median_us(engine, rows, runs=300):
    batch = probe_rows(engine.columns)[:rows]
    for _ in range(20):
        engine.run(batch)
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        engine.run(batch)
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e6


@pytest.fixture(scope="session")
def peak(capabilities):
    return gpu_peak(capabilities.gpu.gpus[0].compute_capability, CudaDriver().rates(0))


@pytest.mark.parametrize("choice", GPU_ENGINES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_it_answers_as_the_cpu_and_its_times_are_noted(capabilities, models, peak, tmp_path, note, choice, precision):
    require(capabilities, choice)
    chosen = models if precision == "fp16" else Models(models.whole, b"", models.columns)
    opened = opening(chosen, tmp_path, choice).open(capabilities)
    engine = opened.engine
    assert engine.name.endswith(precision), opened.note
    difference = check_parity(engine, OnnxRuntimeEngine(models.whole, models.columns), MAX_BATCH, precision)
    expected = score(models.whole, probe_rows(models.columns, seed=7))
    actual = engine.run(probe_rows(models.columns, seed=7))
    assert np.abs(expected - actual).max() <= TOLERANCE[precision]
    size = len(models.half if precision == "fp16" else models.whole)
    cells, last_us = [], 0.0
    for rows in (1, 32, 256):
        last_us = median_us(engine, rows)
        least_us = roofline_ms(peak, precision, size, len(models.whole) / 2, rows, models.columns) * 1e3
        cells.append(f"{last_us:.1f} ({least_us:.2f})")
    note(SPEED, f"{engine.name}: {difference:.1e}; {', '.join(cells)}; {256 / last_us * 1e6:,.0f}")
    engine.close()


@pytest.mark.parametrize("choice", GPU_ENGINES)
def test_float16_costs_no_auc(capabilities, models, tmp_path, note, choice):
    require(capabilities, choice)
    rows, labels = rows_and_labels(2_000, seed=5)
    expected = auc(labels, score(models.whole, rows))
    engine = opening(models, tmp_path, choice).open(capabilities).engine
    assert engine.name.endswith("fp16")
    parts = [engine.run(rows[at : at + MAX_BATCH]) for at in range(0, len(rows), MAX_BATCH)]
    loss = expected - auc(labels, np.concatenate(parts))
    note("AUC lost in float16", f"{engine.name}: {loss:+.1e} of {expected:.4f} (tolerance {AUC_TOLERANCE:g})")
    assert loss <= AUC_TOLERANCE
    engine.close()


def test_every_bucket_of_tensorrt_is_a_cuda_graph(capabilities, models, tmp_path, note):
    require(capabilities, EngineChoice.TENSORRT)
    opened = opening(models, tmp_path).tensorrt(capabilities.gpu.gpus[0])
    engine = opened.engine
    assert engine.has_graphs
    engine.run(np.zeros((1, models.columns), np.float32))
    ((_, lane),) = engine._owned
    assert [bucket.rows for bucket in lane.buckets] == list(batch_buckets(MAX_BATCH))
    with_graph = median_us(engine, 1)
    for bucket in lane.buckets:
        bucket.graph = None
    without = median_us(engine, 1)
    note("CUDA graphs, one row", f"{engine.name}: with {with_graph:.1f} us, call by call {without:.1f} us")
    engine.close()


def test_every_bucket_of_torch_is_a_cuda_graph(capabilities, models, tmp_path, note):
    require(capabilities, EngineChoice.TORCH)
    engine = opening(models, tmp_path, EngineChoice.TORCH).open(capabilities).engine
    assert sorted(engine._graphs) == list(batch_buckets(MAX_BATCH))
    with_graph = median_us(engine, 1)
    engine._graphs.clear()
    compiled, is_compiled = median_us(engine, 1), engine.is_compiled
    engine._quick = engine._forward
    step_by_step = median_us(engine, 1)
    how = f"compiled without {compiled:.1f} us" if is_compiled else "torch.compile does not work here"
    note("CUDA graphs, one row", f"{engine.name}: with {with_graph:.1f} us, {how}, step by step {step_by_step:.1f} us")
    engine.close()


def test_a_plan_is_found_again_and_a_retrained_model_is_refitted(capabilities, models, tmp_path, note):
    import onnx
    from onnx import numpy_helper

    require(capabilities, EngineChoice.TENSORRT)
    gpu = capabilities.gpu.gpus[0]
    whole = Models(models.whole, b"", models.columns)
    seconds = {}

    def timed(chosen):
        begin = time.perf_counter()
        opened = opening(chosen, tmp_path).tensorrt(gpu)
        seconds[opened.origin.value] = round(time.perf_counter() - begin, 2)
        return opened

    assert timed(whole).origin is Origin.BUILT
    assert timed(whole).origin is Origin.CACHED
    proto = onnx.ModelProto.FromString(models.whole)
    for tensor in proto.graph.initializer:
        if tensor.name.startswith(("body.", "head.")):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.9), tensor.name))
    retrained = Models(proto.SerializeToString(), b"", models.columns)
    opened = timed(retrained)
    note("Seconds until warm", ", ".join(f"{origin} {taken}" for origin, taken in seconds.items()))
    assert opened.origin is Origin.REFITTED
    expected = score(retrained.whole, probe_rows(models.columns))
    assert np.abs(opened.engine.run(probe_rows(models.columns)) - expected).max() <= TOLERANCE["fp32"]


def test_one_changed_byte_of_the_plan_is_refused_and_it_is_built_again(capabilities, models, tmp_path):
    require(capabilities, EngineChoice.TENSORRT)
    gpu = capabilities.gpu.gpus[0]
    opened = opening(models, tmp_path).tensorrt(gpu)
    path = EngineCache(tmp_path / FOLDER, cluster_secret(tmp_path)).plan_path(opened.key)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert opening(models, tmp_path).tensorrt(gpu).origin is Origin.BUILT


@pytest.mark.parametrize("choice", GPU_ENGINES)
def test_an_engine_stays_within_its_share(capabilities, models, tmp_path, note, choice):
    require(capabilities, choice)
    gpu = capabilities.gpu.gpus[0]
    cuda = CudaDriver()
    cuda.enter()  # our own context is there before, and stays
    before, _ = cuda.memory()
    with _started(USED, str(tmp_path), choice.value, "0.25", "0", models=models) as replica:
        context = before - int(replica.stdout.readline())
        used = before - int(replica.stdout.readline())
    assert replica.returncode == 0
    share = memory_share(gpu.memory_bytes, None, 0.25)
    note(
        "Memory of a replica with a quarter of the GPU, MB",
        f"{choice}: {used / 1e6:.0f} of {share.share_bytes / 1e6:.0f}; CUDA's context alone {context / 1e6:.0f}",
    )
    assert used <= share.share_bytes + SLACK_BYTES


@pytest.mark.parametrize("choice", [EngineChoice.ONNXRUNTIME_CUDA, EngineChoice.TORCH])
def test_an_engine_that_wants_more_than_its_share_is_stopped(capabilities, models, tmp_path, note, choice):
    """A share of 700 MB leaves 250 for the engine; a batch of a million rows needs gigabytes."""
    require(capabilities, choice)
    output = _elsewhere(EXCEED, str(tmp_path), choice.value, "1", "0.7", models=models)
    note("More than the share", f"{choice}: {output.strip()[:160]}")
    assert output.startswith("stopped")


def test_a_share_too_small_for_the_plan_is_refused_with_the_sum(capabilities, models, tmp_path):
    require(capabilities, EngineChoice.TENSORRT)
    opened = opening(models, tmp_path).tensorrt(capabilities.gpu.gpus[0])
    engine = opened.engine
    engine._budget_bytes = 1000
    with pytest.raises(EngineError, match="its share is 0"):
        engine.warm(MAX_BATCH // 2)


@pytest.mark.parametrize("choice", GPU_ENGINES)
def test_two_versions_share_one_gpu_and_a_third_is_refused(capabilities, models, tmp_path, note, choice):
    """Each in a process of its own, as replicas are, and both at once: they begin when both are warm."""
    require(capabilities, choice)
    (alone,) = _rates(models, tmp_path, choice, 1)
    both = _rates(models, tmp_path, choice, 2)
    together = " + ".join(f"{rate:,.0f}/s ({p50:.0f} us, p99 {p99:.0f})" for rate, p50, p99 in both)
    note(
        "Two versions on one GPU, batches of 32 (median us, p99)",
        f"{choice}: alone {alone[0]:,.0f}/s ({alone[1]:.0f} us, p99 {alone[2]:.0f}), together {together}",
    )
    assert min(rate for rate, _, _ in both) > 0
    ledger, uuid = GpuLedger(tmp_path / "ledger"), capabilities.gpu.gpus[0].uuid
    with _started(LOAD, str(tmp_path), choice.value, "0.6", "0", models=models) as large:
        assert large.stdout.readline() == b"warm\n"
        assert len(ledger.claims(uuid)) == 1
        with pytest.raises(OverCommitError, match=r"asked for are .* \+ .* = "):
            opening(models, tmp_path, choice, num_gpus=0.6).open(capabilities)
        large.communicate(b"go\n", timeout=300)


def test_the_driver_and_nvidia_smi_agree():
    gpu = probe_gpus().gpus[0]
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nvidia-smi is not there")
    names = [line.split(", ") for line in done.stdout.decode().splitlines()]
    assert [gpu.name, "{}.{}".format(*gpu.compute_capability)] in names
    cuda = CudaDriver()
    cuda.enter()
    free, total = cuda.memory()
    assert 0 < free <= total <= gpu.memory_bytes
    assert dataclasses.asdict(gpu)["uuid"] != "0" * 32


OPEN = """
import sys, time
from pathlib import Path
import numpy as np
from divisions.control import EngineChoice
from serving.engines.capabilities import probe_capabilities
from serving.engines.cuda_driver import CudaDriver
from serving.compile.opening import Models, EngineOpener, EngineRequest
folder, choice, share, vram_gb = Path(sys.argv[1]), EngineChoice(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
models = Models((folder / "whole").read_bytes(), (folder / "half").read_bytes(), int((folder / "columns").read_text()))
cuda = CudaDriver(); cuda.enter(); before, _ = cuda.memory()
request = EngineRequest("gpu-v1", choice, share, vram_gb or None, 256)
engine = EngineOpener(request, models, folder, folder / "ledger").open(probe_capabilities(share)).engine
batch = np.zeros((32, models.columns), np.float32)
"""
USED = OPEN + "engine.run(batch); print(before, flush=True); print(cuda.memory()[0])"
LOAD = (
    OPEN
    + """
print("warm", flush=True); sys.stdin.readline()
end, taken = time.monotonic() + 4, []
while time.monotonic() < end:
    begin = time.perf_counter(); engine.run(batch); taken.append(time.perf_counter() - begin)
print(len(taken) / 4, np.median(taken) * 1e6, np.percentile(taken, 99) * 1e6)
"""
)
EXCEED = (
    OPEN
    + """
try:
    engine.run(np.zeros((1_000_000, models.columns), np.float32))
except Exception as error:
    print("stopped with", type(error).__name__ + ":", str(error).splitlines()[0])
else:
    print("took", before - cuda.memory()[0], "bytes")
"""
)


def _started(code, folder, *arguments, models):
    for name, content in (("whole", models.whole), ("half", models.half), ("columns", str(models.columns).encode())):
        Path(folder, name).write_bytes(content)
    command = [sys.executable, "-c", code, folder, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)


def _elsewhere(code, folder, *arguments, models):
    """In a process of its own, whose memory is its own."""
    with _started(code, folder, *arguments, models=models) as process:
        output = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0
    return output


def _rates(models, folder, choice, count):
    """Batches a second, median and p99 in microseconds, of each of so many processes that run at the same time."""
    processes = [_started(LOAD, str(folder), choice.value, "0.5", "0", models=models) for _ in range(count)]
    assert [process.stdout.readline() for process in processes] == [b"warm\n"] * count
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return [tuple(map(float, output.split())) for output in outputs]
