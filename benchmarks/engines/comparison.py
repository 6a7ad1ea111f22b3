"""Engines side by side: ``python -m benchmarks.engines --output json``. Latency and rows per second by engine,
precision and batch size, for the demo's model and for one of 142 MB; and what follows for a deadline.

Every engine of this machine takes part, one after the other, each as a replica would run it (one thread on the CPU).
A batch that would take longer than the limit is left out, and so is an engine that is not there; the result names both.
Beside every time stands its lower bound (`benchmarks.engines.roofline`): the bytes of the weights read once per batch,
and two floating-point operations per weight and row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.engines.channel import channel_latency_ms
from benchmarks.engines.crossover import Choice, Measurement, choose
from benchmarks.engines.models import LARGE_HIDDEN, TrainedModel, open_model, train_model, untrained_model
from benchmarks.engines.roofline import Peak, cpu_peak, gpu_peak, roofline_ms
from benchmarks.harness.command import Say, benchmark_parser, parse_counts, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from divisions.bundle import ONNX, ONNX_FP16
from divisions.control import EngineChoice
from divisions.errors import DivisionsError, EngineError
from serving.compile.opening import EngineOpener, EngineRequest, Models
from serving.engines.capabilities import Capabilities, probe_capabilities
from serving.engines.cuda_driver import CudaDriver, probe_gpus
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.protocol import Engine
from serving.engines.torch_cuda import TorchEngine

BATCHES = tuple(1 << bit for bit in range(15))
DEADLINES_MS = (10.0, 50.0, 250.0)
CHANNEL_SAMPLES = 300
GPU_ENGINES = (
    EngineChoice.TENSORRT,
    EngineChoice.ONNXRUNTIME_TENSORRT,
    EngineChoice.ONNXRUNTIME_CUDA,
    EngineChoice.TORCH,
)
PACKAGES = ("divisions", "numpy", "onnxruntime", "onnxruntime-gpu", "tensorrt", "torch")


class ModelResult(msgspec.Struct, frozen=True):
    """One model. ``channel_*`` is one row over a replica's socket on the CPU, `EngineChoice.ONNXRUNTIME_CPU`."""

    name: str
    model_bytes: int
    half_bytes: int
    flops_per_row: float
    bundle_sha256: str
    channel_p50_ms: float
    channel_p99_ms: float
    channel_compute_ms: float
    measured: tuple[Measurement, ...]
    choices: tuple[Choice, ...]


class EnginesResult(msgspec.Struct, frozen=True):
    """``gpu`` is the GPU's name; ``passed_over`` says why an engine is not among the measured ones."""

    machine: Machine
    seed: int
    gpu: str
    passed_over: dict[str, str]
    channel_samples: int
    models: tuple[ModelResult, ...]
    peaks: tuple[Peak, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that works here. ``device`` is ``cpu`` or ``gpu``; ``model_bytes`` are those of its own graph."""

    name: str
    engine: Engine
    device: str
    precision: str
    model_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An engine of the GPU that should work here and does not."""

    name: str
    precision: str
    reason: str


def open_engines(
    model: TrainedModel, capabilities: Capabilities, work: Path, max_batch: int
) -> Iterator[Candidate | Failed]:
    """Every engine of this machine; those of the GPU warm, and compared with the CPU's. Close each before the next."""
    whole = (model.bundle / ONNX).read_bytes()
    half = (model.bundle / ONNX_FP16).read_bytes() if model.half_bytes else b""
    yield Candidate("onnxruntime-cpu", OnnxRuntimeEngine(whole, model.columns), "cpu", "fp32", len(whole))
    if half:
        yield Candidate("onnxruntime-cpu", OnnxRuntimeEngine(half, model.columns), "cpu", "fp16", len(half))
    yield Candidate("torch-cpu", TorchEngine(whole, model.columns, "cpu"), "cpu", "fp32", len(whole))
    for choice in GPU_ENGINES:
        if choice in capabilities.missing:  # said once, in the result's ``passed_over``
            continue
        for precision, variant in (("fp32", b""), ("fp16", half)):
            if precision == "fp16" and not half:
                continue
            request = EngineRequest(f"bench-{choice}", choice, 1.0, None, max_batch)
            try:
                opened = EngineOpener(request, Models(whole, variant, model.columns), work, work / "ledger").open(
                    capabilities
                )
            except DivisionsError as error:
                yield Failed(str(choice), precision, error.message)
                continue
            if opened.passed_over:  # its float16 graph does not hold here, and this is the float32 one once more
                opened.engine.close()
                yield Failed(str(choice), precision, opened.note)
                continue
            yield Candidate(str(choice), opened.engine, "gpu", precision, len(variant or whole))


def measure_engine(
    candidate: Candidate, peak: Peak, flops_per_row: float, batches: Sequence[int], limit_s: float, seed: int
) -> Iterator[Measurement]:
    """One engine at every batch size. The time of one size predicts the time of the next."""
    engine, name, device, precision = candidate.engine, candidate.name, candidate.device, candidate.precision
    rng = np.random.default_rng(seed)
    last_s = 0.0
    for rows in batches:
        if last_s * 2 > limit_s:
            reason = f"one run would take more than {limit_s:g} s"
            yield Measurement(name, device, precision, rows, skipped=reason)
            continue
        batch = rng.normal(size=(rows, engine.columns)).astype(np.float32)
        engine.run(batch)
        taken_s: list[float] = []
        end_s = time.perf_counter() + limit_s
        while len(taken_s) < 3 or (time.perf_counter() < end_s and len(taken_s) < 1_000):
            begin_s = time.perf_counter()
            engine.run(batch)
            taken_s.append(time.perf_counter() - begin_s)
        last_s = float(np.median(taken_s))
        least_ms = roofline_ms(peak, precision, candidate.model_bytes, flops_per_row, rows, engine.columns)
        yield Measurement(
            name,
            device,
            precision,
            rows,
            p50_ms=round(last_s * 1e3, 4),
            p99_ms=round(float(np.percentile(taken_s, 99)) * 1e3, 4),
            rows_per_s=round(rows / last_s, 1),
            samples=len(taken_s),
            floor_ms=round(least_ms, 4),
        )


def measure_model(
    model: TrainedModel,
    capabilities: Capabilities,
    peaks: Sequence[Peak],
    work: Path,
    batches: Sequence[int],
    limit_s: float,
    seed: int,
    say: Say,
) -> ModelResult:
    peak_of = {peak.device: peak for peak in peaks}
    measured: list[Measurement] = []
    for opened in open_engines(model, capabilities, work, max(batches)):
        if isinstance(opened, Failed):
            measured.append(Measurement(opened.name, "gpu", opened.precision, 0, skipped=opened.reason))
            continue
        say(f"{model.name}: {opened.name} {opened.precision}")
        measured += measure_engine(opened, peak_of[opened.device], model.flops_per_row, batches, limit_s, seed)
        opened.engine.close()  # the next one gets the whole GPU
    say(f"{model.name}: one row at a time over a replica's socket")
    served = OnnxRuntimeEngine((model.bundle / ONNX).read_bytes(), model.columns)
    p50_ms, p99_ms, compute_ms = channel_latency_ms(served, work, CHANNEL_SAMPLES, seed)
    return ModelResult(
        name=model.name,
        model_bytes=model.model_bytes,
        half_bytes=model.half_bytes,
        flops_per_row=model.flops_per_row,
        bundle_sha256=model.sha256,
        channel_p50_ms=round(p50_ms, 3),
        channel_p99_ms=round(p99_ms, 3),
        channel_compute_ms=round(compute_ms, 3),
        measured=tuple(measured),
        choices=tuple(choose(measured, deadline_ms) for deadline_ms in DEADLINES_MS),
    )


def render_engines(found: EnginesResult) -> str:
    """Tables for people: p50 in milliseconds by batch size, then what follows."""
    machine = found.machine
    lines = [
        f"{machine.cpu}, {machine.cores} cores, load {machine.load_average:g} before; GPU: {found.gpu or 'none'}",
        *(f"  {peak.device} at best: {_peak_text(peak)}" for peak in found.peaks),
        *(f"  without {engine}: {reason}" for engine, reason in found.passed_over.items()),
    ]
    for model in found.models:
        lines += ["", f"{model.name}: {model.model_bytes / 1e6:.1f} MB, p50 in ms (rows/s; floor in ms)"]
        names = list(dict.fromkeys((one.engine, one.precision) for one in model.measured))
        for name, precision in names:
            own = [one for one in model.measured if (one.engine, one.precision) == (name, precision)]
            done = [one for one in own if not one.skipped]
            cells = [f"{one.rows}: {one.p50_ms:.3g} ({one.rows_per_s:,.0f}; {one.floor_ms:.3g})" for one in done]
            lines.append(f"  {name} {precision}: {', '.join(cells)}")
            skipped = [one for one in own if one.skipped]
            if skipped:
                lines.append(f"    left out: {', '.join(str(one.rows) for one in skipped)} ({skipped[0].skipped})")
        lines.append(
            f"  over a replica's socket, one row: p50 {model.channel_p50_ms:.2f} ms, p99 {model.channel_p99_ms:.2f} "
            f"ms, of which {model.channel_compute_ms:.2f} ms are the engine's"
        )
        for choice in model.choices:
            crossover = f"; GPU ahead from {choice.crossover_rows} rows" if choice.crossover_rows else ""
            lines.append(
                f"  deadline {choice.deadline_ms:g} ms: {choice.engine}, max_batch {choice.max_batch}, "
                f"{choice.rows_per_s:,.0f} rows/s{crossover}"
            )
    return "\n".join(lines)


def _peak_text(peak: Peak) -> str:
    flops = "".join(f", {value / 1e12:,.2f} TFLOP/s in {precision}" for precision, value in peak.flops_per_s.items())
    return f"{peak.bytes_per_s / 1e9:,.0f} GB/s{flops} ({peak.source})"


def plot_engines(found: EnginesResult, path: Path) -> None:
    """p50 over batch size, a panel for each model."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(found.models), figsize=(6 * len(found.models), 4.5), squeeze=False)
    for axes, model in zip(panels[0], found.models, strict=True):
        for name, precision in dict.fromkeys((one.engine, one.precision) for one in model.measured if not one.skipped):
            own = [
                one for one in model.measured if (one.engine, one.precision) == (name, precision) and not one.skipped
            ]
            axes.plot([one.rows for one in own], [one.p50_ms for one in own], marker="o", label=f"{name} {precision}")
        axes.set(xscale="log", yscale="log", xlabel="rows per batch", ylabel="p50, ms")
        axes.set_title(f"{model.name}, {model.model_bytes / 1e6:.1f} MB", loc="left")
        axes.legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("engines", "Engines side by side, by precision and batch size.")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)), help="batch sizes (default 1 to 16384)")
    parser.add_argument("--limit-s", type=float, default=2.0, help="the most for one figure (default 2)")
    parser.add_argument("--demo-bundle", type=Path, help="the demo's bundle; trained when not given")
    parser.add_argument("--large-bundle", type=Path, help="a bundle of 142 MB; trained when not given")
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="do not train what is not given as a bundle: the same layers with seeded weights, which cost the same",
    )
    parser.add_argument("--need-gpu", action="store_true", help="fail where there is no GPU")
    parser.add_argument("--plot", type=Path, help="draw p50 over batch size into this file")
    options = parser.parse_args(arguments)

    def measure_all(work: Path, say: Say) -> EnginesResult:
        batches = parse_counts("--batches", options.batches)
        if options.need_gpu and (reason := probe_gpus().reason):
            raise EngineError(f"there is no GPU to measure: {reason}")
        bundles = options.demo_bundle, options.large_bundle
        found = measure_engines(work, batches, options.limit_s, options.seed, bundles, options.untrained, say)
        if options.plot:
            plot_engines(found, options.plot)
        return found

    return run_benchmark(options, measure_all, render_engines)


def measure_engines(
    work: Path,
    batches: Sequence[int],
    limit_s: float,
    seed: int,
    bundles: tuple[Path | None, Path | None],
    is_untrained: bool,
    say: Say,
) -> EnginesResult:
    """All models and engines. Bundles that are not given are made: the demo's and the large one."""
    machine = describe_machine(PACKAGES)
    capabilities = probe_capabilities(1.0)
    if None in bundles:
        say(f"{'making' if is_untrained else 'training'} what is not given as a bundle")

    def model(name: str, bundle: Path | None, hidden: tuple[int, ...], epochs: int) -> TrainedModel:
        if bundle is not None:
            return open_model(name, bundle)
        if is_untrained:
            return untrained_model(name, work, hidden, seed)
        return train_model(name, work, hidden, epochs, seed)

    models = (model("demo", bundles[0], (128, 128), 10), model("large", bundles[1], LARGE_HIDDEN, 2))
    peaks = [cpu_peak()]
    if capabilities.gpu.gpus:
        peaks.append(gpu_peak(capabilities.gpu.gpus[0].compute_capability, CudaDriver().rates(0)))
    return EnginesResult(
        machine=machine,
        seed=seed,
        gpu=capabilities.gpu.gpus[0].name if capabilities.gpu.gpus else "",
        passed_over={str(engine): reason for engine, reason in capabilities.missing.items()},
        channel_samples=CHANNEL_SAMPLES,
        models=tuple(measure_model(one, capabilities, peaks, work, batches, limit_s, seed, say) for one in models),
        peaks=tuple(peaks),
    )


if __name__ == "__main__":
    sys.exit(main())
