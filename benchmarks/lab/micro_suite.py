"""Where the time of one request goes, part by part: what ``python -m benchmarks.micro`` measures, prints and keeps.

Everything runs on one thread, on objects in memory. No figure passes or fails: people compare them, and the simulation
of many nodes is calibrated with them (`benchmarks.lab.calibration`).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from benchmarks.harness.bench_bundle import Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.stopwatch import SAMPLE_S, SAMPLES, Figure, measure
from benchmarks.lab.memory_gateway import MemoryGateway
from benchmarks.lab.micro_cases import Case, channel_cases, counting_cases, machine_cases, oip_cases, request_cases

TURN_SIZES = (1, 8, 64)
_TURNS = 200


class MicroResult(msgspec.Struct, frozen=True, tag="micro"):
    """All figures. ``seed`` made the model's weights and the values."""

    machine: Machine
    seed: int
    sample_ms: float
    figures: list[Figure]


def turn_figure(requests: int, is_canary: bool) -> str:
    return f"gateway: {requests} request{'s' * (requests > 1)} in one turn{', canary at 20 %' * is_canary}"


EMPTY_TURN = "gateway: an empty turn of the loop"


def run_micro(workload: Workload, seed: int, samples: int, sample_s: float) -> list[Figure]:
    """All figures, those of the gateway as a whole last."""
    columns = workload.schema.num_columns
    cases: itertools.chain[Case] = itertools.chain(
        request_cases(workload),
        channel_cases(columns),
        counting_cases(seed),
        oip_cases(workload, seed),
        machine_cases(workload),
    )
    figures = [measure(case.name, case.operation, case.unit, case.per, samples, sample_s) for case in cases]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures.append(runner.run(_empty_turn(samples)))
        figures += [
            runner.run(_turns(workload, requests, has_canary, samples))
            for has_canary in (False, True)
            for requests in TURN_SIZES
        ]
    return figures


async def _turns(workload: Workload, requests: int, has_canary: bool, samples: int) -> Figure:
    """Whole requests through a gateway in memory; its summing up, once a second, is part of it."""
    gateway = MemoryGateway(workload, max(TURN_SIZES), has_canary)
    await gateway.turn(requests)
    taken_ns: list[float] = []
    for _ in range(samples):
        begin_ns = time.perf_counter_ns()
        for _ in range(_TURNS):
            await gateway.turn(requests)
        taken_ns.append((time.perf_counter_ns() - begin_ns) / (_TURNS * requests))
        gateway.report()
    gateway.dispatcher.close()
    return _figure(turn_figure(requests, has_canary), "request", taken_ns, requests)


async def _empty_turn(samples: int) -> Figure:
    taken_ns: list[float] = []
    for _ in range(samples):
        begin_ns = time.perf_counter_ns()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        taken_ns.append((time.perf_counter_ns() - begin_ns) / _TURNS)
    return _figure(EMPTY_TURN, "turn", taken_ns, 1)


def _figure(name: str, unit: str, taken_ns: Sequence[float], per: int) -> Figure:
    ordered = sorted(taken_ns)
    count = len(ordered)
    median = ordered[count // 2]
    spread = (ordered[3 * count // 4] - ordered[count // 4]) / median
    return Figure(name, unit, round(median, 2), round(ordered[0], 2), round(spread, 3), count, _TURNS, per)


def render_micro(found: MicroResult) -> str:
    """The figures as a table for people."""
    lines = [f"{'part':<52}{'median':>12}{'least':>12}{'spread':>9}  per"]
    lines += [
        f"{one.name:<52}{_time(one.median_ns):>12}{_time(one.min_ns):>12}{one.spread:>8.0%}   {one.unit}"
        for one in found.figures
    ]
    machine = found.machine
    lines.append(f"{machine.cpu}, {machine.cores} cores, load {machine.load_average:g} before")
    return "\n".join(lines)


def _time(ns: float) -> str:
    return f"{ns:.0f} ns" if ns < 1_000 else f"{ns / 1e3:,.2f} us"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("micro", "Where the time of one request goes, part by part.")
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"samples of each figure (default {SAMPLES})")
    parser.add_argument("--sample-ms", type=float, default=SAMPLE_S * 1e3, help="least length of one (default 20)")
    options = parser.parse_args(arguments)

    def measure_all(work: Path, say: Say) -> MicroResult:
        machine = describe_machine()
        workload = write_workload(work / "micro-bundle", seed=options.seed)
        say(f"timing {options.samples} samples of at least {options.sample_ms:g} ms for each figure")
        figures = run_micro(workload, options.seed, options.samples, options.sample_ms / 1e3)
        return MicroResult(machine, options.seed, options.sample_ms, figures)

    return run_benchmark(options, measure_all, render_micro)
