"""Which engine to run a model on, and the largest batch for a deadline, from measurements. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Measurement(msgspec.Struct, frozen=True):
    """One engine at one batch size. ``device`` is ``cpu`` or ``gpu``; percentiles are of ``samples`` single runs.

    ``floor_ms`` is the least time that the device needs (`benchmarks.engines.roofline`). ``skipped`` says why there are
    no times; they are 0 then.
    """

    engine: str
    device: str
    precision: str
    rows: int
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    rows_per_s: float = 0.0
    samples: int = 0
    skipped: str = ""
    floor_ms: float = 0.0


class Choice(msgspec.Struct, frozen=True):
    """What to serve a model on within a deadline.

    ``crossover_rows`` is the smallest batch from which on a GPU always answers sooner than the best CPU engine; None
    without a GPU, or if there is no such batch. ``max_batch`` is the largest measured batch whose p99 leaves half of
    the deadline for queueing and transport, or 0 if not even one row does; ``buckets`` are its powers of two.
    """

    deadline_ms: float
    engine: str
    device: str
    precision: str
    max_batch: int
    buckets: tuple[int, ...]
    rows_per_s: float
    crossover_rows: int | None


COMPUTE_SHARE = 0.5
"""Of a deadline, for computing. A batch may wait for the one before it, which takes as long as itself."""


def crossover_rows(measured: Sequence[Measurement]) -> int | None:
    """The smallest batch from which on the best GPU engine is quicker at every batch that both were measured on."""
    cpu, gpu = _best_by_rows(measured, "cpu"), _best_by_rows(measured, "gpu")
    # A CPU that was too slow to be measured has lost.
    sizes = sorted(gpu)
    found = None
    for rows in reversed(sizes):
        if rows in cpu and cpu[rows] <= gpu[rows]:
            break
        found = rows
    return found


def can_serve(one: Measurement) -> bool:
    """Whether a replica can run this: on a CPU it has only ONNX Runtime and the float32 graph."""
    return one.device == "gpu" or (one.engine == "onnxruntime-cpu" and one.precision == "fp32")


def choose(measured: Sequence[Measurement], deadline_ms: float) -> Choice:
    """The engine that answers most rows a second in batches that meet the deadline.

    Among equals it is the smaller batch. If nothing meets the deadline, it is the engine that is quickest for one row.
    """
    servable = [one for one in measured if can_serve(one)]
    done = [one for one in servable if not one.skipped]
    if not done:
        raise ValueError("nothing was measured")
    fitting = [one for one in done if one.p99_ms <= deadline_ms * COMPUTE_SHARE]
    best = max(fitting, key=lambda one: (one.rows_per_s, -one.rows)) if fitting else None
    shown = best or min(done, key=lambda one: (one.rows, one.p50_ms))
    max_batch = best.rows if best else 0
    buckets = tuple(1 << bit for bit in range(max_batch.bit_length()))
    return Choice(
        deadline_ms,
        shown.engine,
        shown.device,
        shown.precision,
        max_batch,
        buckets,
        best.rows_per_s if best else 0.0,
        crossover_rows(servable),
    )


def _best_by_rows(measured: Sequence[Measurement], device: str) -> dict[int, float]:
    best: dict[int, float] = {}
    for one in measured:
        if one.device == device and not one.skipped:
            best[one.rows] = min(best.get(one.rows, float("inf")), one.p50_ms)
    return best
