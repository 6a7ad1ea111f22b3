"""What explanations cost, and whether plain requests notice them: ``python -m benchmarks.explaining --output json``.

One lab, one replica, the model of all comparisons (32 features, all of which differ from the reference: 66 rows for an
explanation). Short runs take turns and the order changes each round. Three things are measured:

- one connection: the median latency of a plain request and of an explained one;
- several connections: rows that are explained per second, and plain ones;
- plain requests over several connections alone, and beside a client that asks for explanations all the time.
"""

from __future__ import annotations

import statistics
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import NUM_FEATURES, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.lab.lab import Arrangement, lab
from benchmarks.load.wrk import WrkResult, require_wrk, run_wrk, write_script

CONNECTIONS = 16
NEIGHBOURS = 4
"""Connections of the client that asks for explanations beside plain requests."""


class Series(msgspec.Struct, frozen=True):
    """One case, one value for each round. Latencies are in milliseconds."""

    case: str
    connections: int
    rps: list[float]
    p50_ms: list[float]
    p99_ms: list[float]
    errors: int


class ExplainingResult(msgspec.Struct, frozen=True, tag="explaining"):
    """``rows_per_explanation`` are the model's; requests of one row each."""

    machine: Machine
    seed: int
    seconds: float
    rounds: int
    features: int
    rows_per_explanation: int
    series: list[Series]
    neighbour_rps: list[float]
    """Answered explanations per second of the client beside plain requests, by round."""
    neighbour_refused: int


def series_of(case: str, connections: int, found: Sequence[WrkResult]) -> Series:
    return Series(
        case,
        connections,
        [round(each.rps, 1) for each in found],
        [each.p50_us / 1_000 for each in found],
        [each.p99_us / 1_000 for each in found],
        sum(each.errors for each in found),
    )


def beside(work: Callable[[], WrkResult], neighbour: Callable[[], WrkResult]) -> tuple[WrkResult, WrkResult]:
    """Runs both at the same time."""
    found: list[WrkResult] = []
    thread = threading.Thread(target=lambda: found.append(neighbour()))
    thread.start()
    try:
        own = work()
    finally:
        thread.join()
    return own, found[0]


def measure_rounds(
    url: str, script: Path, seconds: float, rounds: int, say: Say
) -> tuple[list[Series], list[WrkResult]]:
    explained = f"{url}?explain=true"
    cases: dict[str, tuple[str, int]] = {
        "plain, one connection": (url, 1),
        "explained, one connection": (explained, 1),
        "plain": (url, CONNECTIONS),
        "explained": (explained, CONNECTIONS),
        "plain beside explanations": (url, CONNECTIONS),
    }
    found: dict[str, list[WrkResult]] = {case: [] for case in cases}
    neighbours: list[WrkResult] = []
    for each in (url, explained):
        run_wrk(script, each, CONNECTIONS, 2.0)
    for number in range(rounds):
        for case in list(cases) if number % 2 else list(reversed(cases)):
            target, connections = cases[case]
            if case != "plain beside explanations":
                found[case].append(run_wrk(script, target, connections, seconds))
                continue
            own, neighbour = beside(
                lambda: run_wrk(script, url, CONNECTIONS, seconds),
                lambda: run_wrk(script, explained, NEIGHBOURS, seconds),
            )
            found[case].append(own)
            neighbours.append(neighbour)
        say(f"round {number + 1}/{rounds}")
    return [series_of(case, cases[case][1], results) for case, results in found.items()], neighbours


def render_explaining(found: ExplainingResult) -> str:
    lines = [
        f"{each.case} ({each.connections} connections): {statistics.median(each.rps):,.0f} requests/s, p50 "
        f"{statistics.median(each.p50_ms):.3g} ms, p99 {statistics.median(each.p99_ms):.3g} ms, {each.errors} errors"
        for each in found.series
    ]
    lines.append(
        f"meanwhile explained beside plain requests: {statistics.median(found.neighbour_rps):,.0f} requests/s, "
        f"{found.neighbour_refused:,} refused"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("explaining", "What explanations cost, and whether plain requests notice them.")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run (default 3)")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each case (default 9)")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> ExplainingResult:
        require_wrk()
        machine = describe_machine()
        workload = write_workload(work / "bundle", seed=options.seed, has_reference=True)
        script = work / "request.lua"
        write_script(script, workload.body)
        (work / "lab").mkdir()
        with lab(workload, work / "lab", Arrangement()) as running:
            series, neighbours = measure_rounds(running.served.url, script, options.seconds, options.rounds, say)
        return ExplainingResult(
            machine,
            options.seed,
            options.seconds,
            options.rounds,
            NUM_FEATURES,
            2 * NUM_FEATURES + 2,
            series,
            [round(each.rps, 1) for each in neighbours],
            sum(each.errors for each in neighbours),
        )

    return run_benchmark(options, measure, render_explaining)


if __name__ == "__main__":
    sys.exit(main())
