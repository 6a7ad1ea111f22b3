"""The least time that a batch can take: the time of its bytes at the memory's speed, or of its operations, the longer
one.

What a batch takes beyond this bound is launching, waiting, and work that a better kernel would save. A GPU's speeds
follow from its clocks; no kernel quite reaches them. The speeds of a CPU's thread are the best that were measured here.
A model that stays in a cache may be quicker than the bound, because its weights are not read from memory for every
batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import numpy as np

from serving.engines.cuda_driver import GpuRates
from serving.engines.onnx_runtime import OnnxRuntimeEngine

FLOPS_PER_CYCLE = {
    (7, 0): (128, 1024),
    (7, 5): (128, 1024),
    (8, 0): (128, 2048),
    (8, 6): (256, 1024),
    (8, 9): (256, 1024),
    (9, 0): (256, 4096),
}
"""By compute capability: operations per cycle of one multiprocessor in float32, and in float16 on tensor cores with
float32 sums (dense). From NVIDIA's architecture papers: a T4's 40 x 1.59 GHz x 1,024 are its 65 TFLOPS, an H200's
132 x 1.83 GHz x 4,096 its 990. Consumer chips of 8.6 and 8.9 have half of the second."""

_WIDTH = 2048
_VECTOR = 1 << 26
_TRIES = 15


class Peak(msgspec.Struct, frozen=True):
    """What one device can do at best. ``flops_per_s`` is by precision; a missing precision has no bound."""

    device: str
    bytes_per_s: float
    flops_per_s: dict[str, float]
    source: str


def roofline_ms(peak: Peak, precision: str, model_bytes: int, flops_per_row: float, rows: int, columns: int) -> float:
    """The lower bound of a batch: weights are read once, rows come in and scores go out in float32.

    >>> t4 = Peak("gpu", 320e9, {"fp16": 65e12}, "")
    >>> round(roofline_ms(t4, "fp16", 71_000_000, 71e6, 1, 19), 3)
    0.222
    """
    num_bytes = model_bytes + rows * (columns + 1) * 4
    flops_per_s = peak.flops_per_s.get(precision, float("inf"))
    return max(num_bytes / peak.bytes_per_s, rows * flops_per_row / flops_per_s) * 1e3


def gpu_peak(compute_capability: tuple[int, int], rates: GpuRates) -> Peak:
    """A GPU's peaks from its clocks. Memory moves twice in a cycle of its clock."""
    cycles = rates.multiprocessors * rates.clock_hz
    per_cycle = FLOPS_PER_CYCLE.get(compute_capability)
    flops = dict(zip(("fp32", "fp16"), (cycles * one for one in per_cycle), strict=True)) if per_cycle else {}
    return Peak("gpu", 2 * rates.memory_clock_hz * rates.bus_bits / 8, flops, "the driver's clocks")


def cpu_peak() -> Peak:
    """What one thread of this machine does at best: a sum over memory, and a product of two matrices.

    A matrix times a vector, which is what one row costs, reads at two thirds of the sum's speed here. The product is
    ONNX Runtime's, which is half as quick again as PyTorch's on this CPU. For float16 only bytes count: some CPUs have
    instructions for it and some compute it in float32.
    """
    import torch

    torch.set_num_threads(1)
    vector = torch.rand(_VECTOR)
    read_s = _best_s(vector.sum)
    product = OnnxRuntimeEngine(_product_onnx(), _WIDTH)
    rows_WW = np.random.default_rng(0).random((_WIDTH, _WIDTH), np.float32)
    product_s = _best_s(lambda: product.run(rows_WW))
    return Peak(
        "cpu",
        vector.numel() * 4 / read_s,
        {"fp32": 2 * _WIDTH**3 / product_s},
        f"best of {_TRIES} of one thread: the sum of 268 MB, and the product of two matrices of {_WIDTH} rows",
    )


def _product_onnx() -> bytes:
    """A graph of one product; the largest of each row is its score, so that an engine takes it."""
    from onnx import TensorProto, helper, numpy_helper

    weights_WW = np.random.default_rng(1).random((_WIDTH, _WIDTH), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["rows", "weights"], ["product"]),
            helper.make_node("ReduceMax", ["product"], ["scores"], axes=[1], keepdims=0),
        ],
        "product",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", _WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(weights_WW, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _best_s(run: Callable[[], object]) -> float:
    taken_s = []
    for _ in range(_TRIES):
        begin_s = time.perf_counter()
        run()
        taken_s.append(time.perf_counter() - begin_s)
    return min(taken_s)
