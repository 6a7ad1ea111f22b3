"""Large binary requests against a bare loop: ``python -m benchmarks.binary --output json``.

Requests of 1,024 rows by the Open Inference Protocol's binary extension go through a gateway and a replica. Beside
them, ONNX Runtime is called in a loop on the same rows, with the same single thread and no server. The loop is measured
with one call per 1,024 rows and with one per replica batch; the better of the two counts.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.harness.bench_bundle import ENDPOINT, NUM_FEATURES, Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, parse_counts, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.lab.lab import Arrangement, lab
from benchmarks.lab.micro_cases import BINARY_ROWS, binary_body
from benchmarks.load.wrk import require_wrk, run_wrk, write_script
from benchmarks.peers.scorer import Graph, Scorer


class BinaryRow(msgspec.Struct, frozen=True):
    """Medians over the rounds; ``errors`` is the sum. ``connections`` is 0 for the bare loop."""

    system: str
    connections: int
    rows_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


class BinaryResult(msgspec.Struct, frozen=True, tag="binary"):
    """``ratio`` is our best to the loop's best, in rows per second."""

    machine: Machine
    seed: int
    seconds: float
    rounds: int
    rows_per_request: int
    max_batch: int
    rows: list[BinaryRow]
    ratio: float


def bare_loop_rows_per_s(scorer: Scorer, rows_NF: np.ndarray, batch: int, seconds: float) -> float:
    """Rows per second of one thread that does nothing else, over whole passes of ``rows_NF``."""
    began_s = time.perf_counter()
    passes = 0
    while (took_s := time.perf_counter() - began_s) < seconds:
        for start in range(0, len(rows_NF), batch):
            scorer.run(rows_NF[start : start + batch])
        passes += 1
    return passes * len(rows_NF) / took_s


def best_ratio(rows: Sequence[BinaryRow]) -> float:
    """Our best against the loop's best; 0 while one of them is missing."""
    ours = max((row.rows_per_s for row in rows if row.connections), default=0.0)
    loop = max((row.rows_per_s for row in rows if not row.connections), default=0.0)
    return round(ours / loop, 4) if loop else 0.0


def measure_binary(
    workload: Workload,
    work: Path,
    connections: Sequence[int],
    max_batch: int,
    seconds: float,
    rounds: int,
    seed: int,
    say: Say,
) -> list[BinaryRow]:
    """Loop and gateway take turns in every round; the gateway stays up, and idle, while the loop runs."""
    rows_NF = np.random.default_rng(seed).normal(size=(BINARY_ROWS, NUM_FEATURES)).astype(np.float32)
    body, json_bytes = binary_body(rows_NF)
    script = work / "request.lua"
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(json_bytes)}
    write_script(script, body, headers)
    scorer = Scorer(Graph(str(workload.onnx), workload.schema.names))
    taken: dict[tuple[str, int], list[tuple[float, float, float, int]]] = {}
    folder = work / "binary"
    folder.mkdir()
    with lab(workload, folder, Arrangement(max_batch=max_batch)) as running:
        base = running.served.url.partition("/api/")[0]
        url = f"{base}/v2/models/{ENDPOINT}/infer"
        run_wrk(script, url, max(connections), 2.0)
        for number in range(1, rounds + 1):
            for batch in dict.fromkeys((max_batch, BINARY_ROWS)):
                rate = bare_loop_rows_per_s(scorer, rows_NF, batch, seconds)
                taken.setdefault((f"bare loop, batches of {batch:,}", 0), []).append((rate, 0.0, 0.0, 0))
                say(f"round {number}/{rounds}: bare loop, batches of {batch:,}: {rate:,.0f} rows/s")
            for count in connections:
                found = run_wrk(script, url, count, seconds)
                rate = found.rps * BINARY_ROWS
                taken.setdefault(("divisions", count), []).append(
                    (rate, found.p50_us / 1e3, found.p99_us / 1e3, found.errors)
                )
                say(f"round {number}/{rounds}: c={count}: {rate:,.0f} rows/s, {found.p50_us / 1e3:.2f} ms")
    return [_median_row(system, count, runs) for (system, count), runs in taken.items()]


def _median_row(system: str, connections: int, runs: Sequence[tuple[float, float, float, int]]) -> BinaryRow:
    rates, p50s_ms, p99s_ms, errors = zip(*runs, strict=True)
    return BinaryRow(
        system,
        connections,
        round(statistics.median(rates), 1),
        round(statistics.median(p50s_ms), 3),
        round(statistics.median(p99s_ms), 3),
        sum(errors),
    )


def render_binary(found: BinaryResult) -> str:
    lines = [f"{'system':<32}{'conn.':>6}{'rows/s':>14}{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}"]
    lines += [
        f"{row.system:<32}{row.connections or '':>6}{row.rows_per_s:>14,.0f}{row.p50_ms:>9.2f}{row.p99_ms:>9.2f}"
        f"{row.errors:>8,}"
        for row in found.rows
    ]
    lines.append(f"ours is {found.ratio:.0%} of the bare loop, {found.rows_per_request:,} rows per request")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("binary", "Binary requests of 1,024 rows beside a bare ONNX Runtime loop.")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each run (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--connections", default="1,2,4,8", help="comma-separated (default 1,2,4,8)")
    parser.add_argument("--max-batch", type=int, default=256, help="batch size cap of the replica (default 256)")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> BinaryResult:
        require_wrk()
        connections = parse_counts("--connections", options.connections)
        machine = describe_machine()
        workload = write_workload(work / "bundle", seed=options.seed)
        rows = measure_binary(
            workload, work, connections, options.max_batch, options.seconds, options.rounds, options.seed, say
        )
        return BinaryResult(
            machine,
            options.seed,
            options.seconds,
            options.rounds,
            BINARY_ROWS,
            options.max_batch,
            rows,
            best_ratio(rows),
        )

    return run_benchmark(options, measure, render_binary)


if __name__ == "__main__":
    sys.exit(main())
