"""What a canary's bookkeeping costs: ``python -m benchmarks.bookkeeping --output json``.

Two labs run side by side: a canary at 20 %, one replica for each version, 1,000 customers. They differ in one switch,
`has_bookkeeping` of `router.predict.dispatcher.Dispatcher`. Without it nothing is counted or observed for the rollout.
The split stays, so both labs send the same requests to the same versions. Short runs take turns and the order changes
each round, so that a busy moment of the machine affects both alike.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.lab.lab import Arrangement, lab
from benchmarks.load.wrk import require_wrk, run_wrk, write_script

CUSTOMERS = 1_000
CANARY_BP = 2_000


class BookkeepingResult(msgspec.Struct, frozen=True, tag="bookkeeping"):
    """Requests per second with and without, one pair for each round; ``cost`` is the share of throughput that it takes.

    ``cost`` is the median over the rounds of ``1 - on / off``.
    """

    machine: Machine
    seed: int
    connections: int
    seconds: float
    rounds: int
    canary_bp: int
    on_rps: list[float]
    off_rps: list[float]
    cost: float
    errors: int


def cost_of(on_rps: Sequence[float], off_rps: Sequence[float]) -> float:
    """The lost share of throughput: the median of the rounds' ratios. Noise may make it negative."""
    return round(1.0 - statistics.median(on / off for on, off in zip(on_rps, off_rps, strict=True)), 4)


def bodies_of(workload: Workload, customers: int) -> list[bytes]:
    """The workload's request for as many customers."""
    return [workload.body.replace(b'"c-1"', b'"c-%d"' % number) for number in range(customers)]


def measure_cost(
    workload: Workload, work: Path, connections: int, seconds: float, rounds: int, say: Say
) -> tuple[list[float], list[float], int]:
    """Requests per second with and without in each round, and all errors."""
    script = work / "request.lua"
    write_script(script, bodies_of(workload, CUSTOMERS))
    found: dict[bool, list[float]] = {True: [], False: []}
    errors = 0
    folders = {switch: work / f"bookkeeping-{'on' if switch else 'off'}" for switch in found}
    for folder in folders.values():
        folder.mkdir()
    on = Arrangement(canary_bp=CANARY_BP)
    off = Arrangement(canary_bp=CANARY_BP, has_bookkeeping=False)
    with lab(workload, folders[True], on) as with_it, lab(workload, folders[False], off) as without:
        urls = {True: with_it.served.url, False: without.served.url}
        for url in urls.values():
            run_wrk(script, url, connections, 2.0)
        for number in range(rounds):
            for switch in (True, False) if number % 2 else (False, True):
                result = run_wrk(script, urls[switch], connections, seconds)
                found[switch].append(round(result.rps, 1))
                errors += result.errors
            say(f"round {number + 1}/{rounds}: on {found[True][-1]:,.0f}, off {found[False][-1]:,.0f} req/s")
    return found[True], found[False], errors


def render_bookkeeping(found: BookkeepingResult) -> str:
    return (
        f"bookkeeping on {statistics.median(found.on_rps):,.0f} req/s, off {statistics.median(found.off_rps):,.0f}: "
        f"it costs {found.cost:.1%} of the throughput (medians of {found.rounds} rounds of {found.seconds:g} s, "
        f"{found.connections} connections, {found.errors} errors)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("bookkeeping", "What a canary's bookkeeping costs.")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run (default 3)")
    parser.add_argument("--rounds", type=int, default=11, help="pairs of runs (default 11)")
    options = parser.parse_args(arguments)
    connections, seconds, rounds = options.connections, options.seconds, options.rounds

    def measure(work: Path, say: Say) -> BookkeepingResult:
        require_wrk()
        machine = describe_machine()
        workload = write_workload(work / "bundle", seed=options.seed)
        on_rps, off_rps, errors = measure_cost(workload, work, connections, seconds, rounds, say)
        cost = cost_of(on_rps, off_rps)
        return BookkeepingResult(
            machine, options.seed, connections, seconds, rounds, CANARY_BP, on_rps, off_rps, cost, errors
        )

    return run_benchmark(options, measure, render_bookkeeping)


if __name__ == "__main__":
    sys.exit(main())
