"""Timing of short operations: calibrated loops, many samples, medians. On a noisy machine the mean says little."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import msgspec
import numpy as np

SAMPLES = 25
SAMPLE_S = 0.02


class Figure(msgspec.Struct, frozen=True):
    """What one operation costs, in nanoseconds per ``unit``.

    ``min_ns`` is the least disturbed sample. ``spread`` is the width of the middle half over the median; above about
    0.1 the machine was busy with other work. Each of ``samples`` timed ``loops`` operations of ``per`` units.
    """

    name: str
    unit: str
    median_ns: float
    min_ns: float
    spread: float
    samples: int
    loops: int
    per: int


def measure(
    name: str,
    operation: Callable[[], object],
    unit: str = "call",
    per: int = 1,
    samples: int = SAMPLES,
    sample_s: float = SAMPLE_S,
    now_ns: Callable[[], int] = time.perf_counter_ns,
) -> Figure:
    """Times ``operation``. The garbage collector is off meanwhile, as in timeit.

    Args:
        name: of the figure.
        operation: what is timed; it must be repeatable.
        unit: what ``per`` counts.
        per: units that one operation handles.
        samples: number of samples.
        sample_s: the least length of a sample; loops are doubled until they reach it.
        now_ns: the clock.
    """
    loops = calibrate(operation, sample_s, now_ns)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        taken = np.array([_time(operation, loops, now_ns) for _ in range(samples)]) / (loops * per)
    finally:
        if was_enabled:
            gc.enable()
    low, median, high = np.percentile(taken, (25, 50, 75))
    return Figure(
        name,
        unit,
        round(float(median), 2),
        round(float(taken.min()), 2),
        round(float((high - low) / median), 3) if median else 0.0,
        samples,
        loops,
        per,
    )


def calibrate(operation: Callable[[], object], sample_s: float, now_ns: Callable[[], int]) -> int:
    """How many loops fill a sample; also warms the operation up."""
    loops = 1
    while _time(operation, loops, now_ns) < sample_s * 1e9 and loops < 1 << 30:
        loops *= 2
    return loops


def _time(operation: Callable[[], object], loops: int, now_ns: Callable[[], int]) -> int:
    begin_ns = now_ns()
    for _ in range(loops):
        operation()
    return now_ns() - begin_ns
