"""Requests drawn at random against a real gateway: ``python -m benchmarks.fuzz --output json``.

HTTP and the Open Inference Protocol, JSON and binary tensors, valid and nearly valid: `benchmarks.stress.fuzz_requests`
draws them, the same ones from the same seed. Every request must be answered. A 5xx is a fault of the gateway, but for
503 and 504 under overload, and 501 and 505 to another version or encoding of HTTP. The gateway's memory must not grow.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import ENDPOINT, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.process_stats import rss_bytes
from benchmarks.lab.lab import Arrangement, lab
from benchmarks.stress.fuzz_client import fuzz

PARTS = 10
"""The memory is read after each part."""
FEATURES = 4


class FuzzResult(msgspec.Struct, frozen=True, tag="fuzz"):
    """``statuses`` counts answers; ``rss_mb`` is the gateway's memory before, and after each tenth."""

    machine: Machine
    seed: int
    requests: int
    clients: int
    statuses: dict[str, int]
    unanswered: int
    wrong: int
    faults: list[str]
    rss_mb: list[float]


def measure(work: Path, say: Say, requests: int, seed: int, clients: int) -> FuzzResult:
    workload = write_workload(work / "bundle", num_features=FEATURES, seed=seed, widths=(16,), takes_any=True)
    names = workload.schema.names
    statuses: dict[int, int] = {}
    unanswered = wrong = 0
    faults: list[str] = []
    with lab(workload, work, Arrangement()) as running:
        port = int(running.served.url.split(":")[2].partition("/")[0])
        (gateway,) = running.gateway_pids
        rss_mb = [rss_bytes(gateway) / 1e6]
        for part in range(PARTS):
            count = requests // PARTS + (part < requests % PARTS)
            found = asyncio.run(fuzz(port, ENDPOINT, names, count, seed * PARTS + part, clients))
            for status, times in found.statuses.items():
                statuses[status] = statuses.get(status, 0) + times
            unanswered += found.unanswered
            wrong += found.wrong
            faults += found.faults
            rss_mb.append(rss_bytes(gateway) / 1e6)
            say(f"{part + 1} of {PARTS}: {unanswered} unanswered, {wrong} wrong, {rss_mb[-1]:.1f} MB")
    return FuzzResult(
        machine=describe_machine(),
        seed=seed,
        requests=requests,
        clients=clients,
        statuses={str(status): count for status, count in sorted(statuses.items())},
        unanswered=unanswered,
        wrong=wrong,
        faults=faults[:20],
        rss_mb=[round(each, 1) for each in rss_mb],
    )


def render(found: FuzzResult) -> str:
    counts = ", ".join(f"{status}: {count:,}" for status, count in found.statuses.items())
    lines = [
        f"{found.requests:,} requests of seed {found.seed} from {found.clients} clients",
        f"answers: {counts}",
        f"unanswered {found.unanswered}, wrong {found.wrong}",
        f"memory {found.rss_mb[0]} MB before, then {', '.join(map(str, found.rss_mb[1:]))}",
    ]
    return "\n".join([*lines, *found.faults])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("fuzz", "Requests drawn at random, each of which must be answered.")
    parser.add_argument("--requests", type=int, default=100_000, help="how many (default 100000)")
    parser.add_argument("--clients", type=int, default=32, help="connections at a time (default 32)")
    options = parser.parse_args(arguments)
    results: list[FuzzResult] = []

    def run(work: Path, say: Say) -> FuzzResult:
        results.append(measure(work, say, options.requests, options.seed, options.clients))
        return results[0]

    status = run_benchmark(options, run, render)
    return status or int(any(found.unanswered or found.wrong for found in results))


if __name__ == "__main__":
    sys.exit(main())
