"""Engines side by side: ``python -m benchmarks.engines --output json``. Latency and rows per second by engine,
precision and batch size, for the demo's model and for one of 142 MB; and what follows for a deadline.

Every engine of this machine takes part, one after the other, each as a replica would run it (one thread on the CPU).
A batch that would take longer than the limit is left out and named. The floor is what the machine must do at least:
the bytes of the weights read once per batch, and two floating-point operations per weight and row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.command import Say, benchmark_parser, parse_counts, run_benchmark
from benchmarks.crossover import Choice, Measurement, choose
from benchmarks.engine_channel import channel_latency_ms
from benchmarks.engine_models import LARGE_HIDDEN, TrainedModel, open_model, train_model
from benchmarks.machine import Machine, describe_machine
from divisions.bundle import ONNX, ONNX_FP16
from divisions.control import EngineChoice
from divisions.errors import DivisionsError
from serving.engines.capabilities import Capabilities, probe_capabilities
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.protocol import Engine
from serving.engines.torch_cuda import TorchEngine
from serving.opening import Models, Opening, Wish

BATCHES = tuple(1 << bit for bit in range(15))
DEADLINES_MS = (10.0, 50.0, 250.0)
CHANNEL_SAMPLES = 300
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
    """``gpu`` is the GPU's name; without one, ``passed_over`` says why."""

    machine: Machine
    seed: int
    gpu: str
    passed_over: dict[str, str]
    channel_samples: int
    models: tuple[ModelResult, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that works here. ``device`` is ``cpu`` or ``gpu``."""

    engine: Engine
    device: str
    precision: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An engine of the GPU that should work here and does not."""

    name: str
    precision: str
    reason: str


def open_engines(
    model: TrainedModel, capabilities: Capabilities, work: Path, max_batch: int
) -> Iterator[Candidate | Failed]:
    """Every engine of this machine; those of the GPU warm, and compared with the CPU's."""
    whole = (model.bundle / ONNX).read_bytes()
    half = (model.bundle / ONNX_FP16).read_bytes() if model.half_bytes else b""
    yield Candidate(OnnxRuntimeEngine(whole, model.columns), "cpu", "fp32")
    if half:
        yield Candidate(OnnxRuntimeEngine(half, model.columns), "cpu", "fp16")
    yield Candidate(TorchEngine(whole, model.columns, "cpu"), "cpu", "fp32")
    if not capabilities.gpu.gpus:
        return
    gpu_engines = (
        EngineChoice.TENSORRT,
        EngineChoice.ONNXRUNTIME_TENSORRT,
        EngineChoice.ONNXRUNTIME_CUDA,
        EngineChoice.TORCH,
    )
    for choice in gpu_engines:
        for precision, variant in (("fp32", b""), ("fp16", half)):
            if precision == "fp16" and (not half or choice is EngineChoice.TORCH):
                continue
            wish = Wish(f"bench-{choice}", choice, 1.0, None, max_batch)
            try:
                opening = Opening(wish, Models(whole, variant, model.columns), work, work / "ledger")
                yield Candidate(opening.open(capabilities).engine, "gpu", precision)
            except DivisionsError as error:
                yield Failed(str(choice), precision, error.message)


def measure_engine(candidate: Candidate, batches: Sequence[int], limit_s: float, seed: int) -> Iterator[Measurement]:
    """One engine at every batch size; what it took at the last one tells what the next would take."""
    engine, device, precision = candidate.engine, candidate.device, candidate.precision
    rng = np.random.default_rng(seed)
    last_s = 0.0
    for rows in batches:
        if last_s * 2 > limit_s:
            reason = f"one run would take more than {limit_s:g} s"
            yield Measurement(engine.name, device, precision, rows, skipped=reason)
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
        yield Measurement(
            engine.name,
            device,
            precision,
            rows,
            p50_ms=round(last_s * 1e3, 4),
            p99_ms=round(float(np.percentile(taken_s, 99)) * 1e3, 4),
            rows_per_s=round(rows / last_s, 1),
            samples=len(taken_s),
        )


def measure_model(
    model: TrainedModel,
    capabilities: Capabilities,
    work: Path,
    batches: Sequence[int],
    limit_s: float,
    seed: int,
    say: Say,
) -> ModelResult:
    measured: list[Measurement] = []
    for opened in open_engines(model, capabilities, work, max(batches)):
        if isinstance(opened, Failed):
            measured.append(Measurement(opened.name, "gpu", opened.precision, 0, skipped=opened.reason))
            continue
        say(f"{model.name}: {opened.engine.name} {opened.precision}")
        measured += measure_engine(opened, batches, limit_s, seed)
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
        *(f"  without {engine}: {reason}" for engine, reason in found.passed_over.items()),
    ]
    for model in found.models:
        lines += ["", f"{model.name}: {model.model_bytes / 1e6:.1f} MB, p50 in ms (rows/s)"]
        names = list(dict.fromkeys((one.engine, one.precision) for one in model.measured))
        for name, precision in names:
            own = [one for one in model.measured if (one.engine, one.precision) == (name, precision)]
            cells = [f"{one.rows}: {one.p50_ms:.3g} ({one.rows_per_s:,.0f})" for one in own if not one.skipped]
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
    parser.add_argument("--plot", type=Path, help="draw p50 over batch size into this file")
    options = parser.parse_args(arguments)

    def measure_all(work: Path, say: Say) -> EnginesResult:
        batches = parse_counts("--batches", options.batches)
        bundles = options.demo_bundle, options.large_bundle
        found = measure_engines(work, batches, options.limit_s, options.seed, bundles, say)
        if options.plot:
            plot_engines(found, options.plot)
        return found

    return run_benchmark(options, measure_all, render_engines)


def measure_engines(
    work: Path, batches: Sequence[int], limit_s: float, seed: int, bundles: tuple[Path | None, Path | None], say: Say
) -> EnginesResult:
    """Everything; the demo's bundle and the large one are trained where none is given."""
    demo, large = bundles
    machine = describe_machine(PACKAGES)
    capabilities = probe_capabilities(1.0)
    if not (demo and large):
        say("training what is not given as a bundle")
    models = (
        open_model("demo", demo) if demo else train_model("demo", work, (128, 128), 10, seed),
        open_model("large", large) if large else train_model("large", work, LARGE_HIDDEN, 2, seed),
    )
    return EnginesResult(
        machine=machine,
        seed=seed,
        gpu=capabilities.gpu.gpus[0].name if capabilities.gpu.gpus else "",
        passed_over={str(engine): reason for engine, reason in capabilities.missing.items()},
        channel_samples=CHANNEL_SAMPLES,
        models=tuple(measure_model(one, capabilities, work, batches, limit_s, seed, say) for one in models),
    )


if __name__ == "__main__":
    sys.exit(main())
