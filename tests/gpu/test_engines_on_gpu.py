"""Every engine on the real GPU: it answers as the CPU does, captures graphs, stays in its memory and shares the GPU."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time

import numpy as np
import pytest

from divisions.control import EngineChoice
from divisions.errors import EngineError, OverCommitError
from serving.engine_cache import EngineCache, cluster_secret
from serving.engines.cuda_driver import CudaDriver, probe_gpus
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.parity import TOLERANCE, check_parity, probe_rows
from serving.engines.protocol import batch_buckets
from serving.gpu_memory import GpuLedger, memory_share
from serving.opening import FOLDER, Models, Opening, Wish
from serving.plans import Origin
from trainers.export import score

MAX_BATCH = 256
SLACK_BYTES = 250_000_000
"""What CUDA's context may take beyond its planned share, and the granularity of its allocations."""


def opening(models, folder, choice=EngineChoice.TENSORRT, num_gpus=0.5, max_batch=MAX_BATCH, name="gpu-v1"):
    return Opening(Wish(name, choice, num_gpus, None, max_batch), models, folder, folder / "ledger")


def require(capabilities, choice):
    if choice in capabilities.missing:
        pytest.skip(capabilities.missing[choice])


def median_us(engine, rows, runs=300):
    batch = probe_rows(engine.columns)[:rows] if rows <= 256 else np.zeros((rows, engine.columns), np.float32)
    for _ in range(20):
        engine.run(batch)
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        engine.run(batch)
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e6


GPU_ENGINES = (
    EngineChoice.TENSORRT,
    EngineChoice.ONNXRUNTIME_TENSORRT,
    EngineChoice.ONNXRUNTIME_CUDA,
    EngineChoice.TORCH,
)


@pytest.mark.parametrize("choice", GPU_ENGINES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_it_answers_as_the_cpu_and_this_fast(capabilities, models, tmp_path, note, choice, precision):
    require(capabilities, choice)
    if precision == "fp16" and choice is EngineChoice.TORCH:
        pytest.skip("the torch engine runs the float32 graph")
    chosen = models if precision == "fp16" else Models(models.whole, b"", models.columns)
    engine = opening(chosen, tmp_path, choice).open(capabilities).engine
    reference = OnnxRuntimeEngine(models.whole, models.columns)
    difference = check_parity(engine, reference, MAX_BATCH, precision)
    assert difference <= TOLERANCE[precision]
    expected = score(models.whole, probe_rows(models.columns, seed=7))
    actual = engine.run(probe_rows(models.columns, seed=7))
    assert np.abs(expected - actual).max() <= TOLERANCE[precision]
    times = {rows: round(median_us(engine, rows), 1) for rows in (1, 32, 256)}
    rate = round(256 / times[256] * 1e6)
    note(
        "Engines: difference from the CPU, median us for 1, 32 and 256 rows, rows per second",
        f"{engine.name} {precision}: {difference:.1e}; {times[1]}, {times[32]}, {times[256]}; {rate:,}",
    )


def test_every_bucket_is_a_cuda_graph_and_graphs_pay(capabilities, models, tmp_path, note):
    require(capabilities, EngineChoice.TENSORRT)
    opened = opening(models, tmp_path).tensorrt(capabilities.gpu.gpus[0])
    engine = opened.engine
    assert engine.has_graphs
    engine.run(np.zeros((1, models.columns), np.float32))
    ((_, lane),) = engine._owned
    assert [bucket.rows for bucket in lane.buckets] == list(batch_buckets(MAX_BATCH))
    with_graph = median_us(engine, 1)
    graphs = [bucket.graph for bucket in lane.buckets]
    for bucket in lane.buckets:
        bucket.graph = None
    without = median_us(engine, 1)
    for bucket, graph in zip(lane.buckets, graphs, strict=True):
        bucket.graph = graph
    note("CUDA graphs, one row", f"with {with_graph:.1f} us, call by call {without:.1f} us")
    weights = len(models.half or models.whole)
    note("Floor", {"weights_bytes": weights, "flops_per_row": len(models.whole) / 2})
    assert with_graph < without * 1.05


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
    note("Seconds until warm", seconds)
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
    used = int(_elsewhere(USED, str(tmp_path), choice.value, "0.25", models=models).split()[-1])
    share = memory_share(gpu.memory_bytes, None, 0.25)
    note(
        "Memory of a replica with a quarter of the GPU, MB",
        f"{choice}: {used / 1e6:.0f} of {share.share_bytes / 1e6:.0f}",
    )
    assert used <= share.share_bytes + SLACK_BYTES


def test_a_share_too_small_for_the_plan_is_refused_with_the_sum(capabilities, models, tmp_path):
    require(capabilities, EngineChoice.TENSORRT)
    opened = opening(models, tmp_path).tensorrt(capabilities.gpu.gpus[0])
    engine = opened.engine
    engine._budget_bytes = 1000
    with pytest.raises(EngineError, match="its share is 0"):
        engine.warm(MAX_BATCH // 2)


def test_two_versions_share_one_gpu_and_a_third_is_refused(capabilities, models, tmp_path, note):
    choice = next((one for one in GPU_ENGINES if one not in capabilities.missing), None)
    if choice is None:
        pytest.skip("no engine of the GPU is installed")
    alone = _rate(_elsewhere(LOAD, str(tmp_path), choice.value, "0.5", models=models))
    both = [_started(LOAD, str(tmp_path), choice.value, "0.5", models=models) for _ in range(2)]
    outputs = [one.communicate(timeout=300)[0].decode() for one in both]
    assert all(one.returncode == 0 for one in both)
    rates = [_rate(output) for output in outputs]
    note(
        "Two versions on one GPU, batches of 32 a second",
        f"alone {alone:,.0f}, together {rates[0]:,.0f} + {rates[1]:,.0f}",
    )
    large = _started(LOAD, str(tmp_path), choice.value, "0.6", models=models)
    ledger, uuid = GpuLedger(tmp_path / "ledger"), capabilities.gpu.gpus[0].uuid
    end = time.monotonic() + 120
    while not ledger.claims(uuid) and time.monotonic() < end:
        time.sleep(0.1)  # until the other process has claimed its share
    with pytest.raises(OverCommitError, match=r"asked for are .* \+ .* = "):
        opening(models, tmp_path, choice, num_gpus=0.6).open(capabilities)
    assert large.wait(300) == 0


def test_the_driver_tells_what_nvidia_smi_tells():
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
from serving.opening import Models, Opening, Wish
folder, choice, share = Path(sys.argv[1]), EngineChoice(sys.argv[2]), float(sys.argv[3])
models = Models((folder / "whole").read_bytes(), (folder / "half").read_bytes(), int((folder / "columns").read_text()))
cuda = CudaDriver(); cuda.enter(); before, _ = cuda.memory()
wish = Wish("gpu-v1", choice, share, None, 256)
engine = Opening(wish, models, folder, folder / "ledger").open(probe_capabilities(share)).engine
batch = np.zeros((32, models.columns), np.float32)
"""
USED = OPEN + "engine.run(batch); print(before - cuda.memory()[0])"
LOAD = (
    OPEN
    + """
end, runs = time.monotonic() + 5, 0
while time.monotonic() < end:
    engine.run(batch); runs += 1
print(runs / 5)
"""
)


def _started(code, folder, *arguments, models):
    from pathlib import Path

    for name, content in (("whole", models.whole), ("half", models.half), ("columns", str(models.columns).encode())):
        Path(folder, name).write_bytes(content)
    return subprocess.Popen([sys.executable, "-c", code, folder, *arguments], stdout=subprocess.PIPE)


def _elsewhere(code, folder, *arguments, models):
    """In a process of its own, whose memory is its own."""
    process = _started(code, folder, *arguments, models=models)
    output = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0
    return output


def _rate(output):
    return float(output.split()[-1])
