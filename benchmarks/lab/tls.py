"""What TLS on the gateway's port costs: ``python -m benchmarks.tls --output json``.

Two labs run side by side, one replica each. They differ in one setting, the certificate of the gateway's port (ECDSA
P-256, TLS 1.3). Short runs take turns and the order changes each round, so that a busy moment of the machine affects
both alike. The gateway's own processor time for each request is what TLS costs it: wrk encrypts too, on the same
machine, so requests per second hold both sides' cost. On new connections, each request begins with a handshake.
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
from benchmarks.harness.process_stats import cpu_s
from benchmarks.lab.certificates import write_port_pair
from benchmarks.lab.lab import Arrangement, Lab, lab
from benchmarks.load.wrk import require_wrk, run_wrk, write_script

WARM_UP_S = 1.0


class TlsRuns(msgspec.Struct, frozen=True):
    """Runs of one kind of connection, one pair for each round: good answers per second, and the gateway's CPU time."""

    plain_rps: list[float]
    tls_rps: list[float]
    plain_cpu_us: list[float]
    tls_cpu_us: list[float]

    @property
    def throughput_cost(self) -> float:
        """The share of throughput that TLS takes: the median of the rounds' ratios. Noise may make it negative."""
        return _cost(self.tls_rps, self.plain_rps)

    @property
    def cpu_ratio(self) -> float:
        """The gateway's CPU time for a request with TLS over that without: the median of the rounds' ratios."""
        return 1.0 - _cost(self.tls_cpu_us, self.plain_cpu_us)


class TlsResult(msgspec.Struct, frozen=True, tag="tls"):
    """``kept`` are runs on connections that are kept, ``new`` those with a connection for each request."""

    machine: Machine
    seed: int
    connections: int
    seconds: float
    rounds: int
    kept: TlsRuns
    new: TlsRuns
    errors: int


def _cost(with_it: Sequence[float], without: Sequence[float]) -> float:
    return round(1.0 - statistics.median(a / b for a, b in zip(with_it, without, strict=True)), 4)


def measure(
    workload: Workload, work: Path, seed: int, connections: int, seconds: float, rounds: int, say: Say
) -> TlsResult:
    """Runs both labs side by side, and takes turns."""
    scripts = {"kept": work / "kept.lua", "new": work / "new.lua"}
    write_script(scripts["kept"], workload.body)
    write_script(scripts["new"], workload.body, {"connection": "close"})
    folders = {"plain": work / "plain", "tls": work / "tls"}
    for folder in folders.values():
        folder.mkdir()
    pair = write_port_pair(folders["tls"])
    rps: dict[tuple[str, str], list[float]] = {(kind, port): [] for kind in scripts for port in folders}
    cpu_us: dict[tuple[str, str], list[float]] = {key: [] for key in rps}
    errors = 0
    with (
        lab(workload, folders["plain"], Arrangement()) as plain,
        lab(workload, folders["tls"], Arrangement(port_pair=pair)) as encrypted,
    ):
        labs: dict[str, Lab] = {"plain": plain, "tls": encrypted}
        for running in labs.values():
            run_wrk(scripts["kept"], running.served.url, connections, WARM_UP_S)
        for number in range(rounds):
            for kind, script in scripts.items():
                for port in ("plain", "tls") if number % 2 else ("tls", "plain"):
                    running = labs[port]
                    (pid,) = running.gateway_pids
                    before_s = cpu_s(pid)
                    result = run_wrk(script, running.served.url, connections, seconds)
                    good = max(1, result.requests - result.status)
                    cpu_us[kind, port].append(round((cpu_s(pid) - before_s) / good * 1e6, 2))
                    rps[kind, port].append(round(result.rps, 1))
                    errors += result.errors
                say(
                    f"round {number + 1}/{rounds}, {kind} connections: plain {rps[kind, 'plain'][-1]:,.0f}, "
                    f"TLS {rps[kind, 'tls'][-1]:,.0f} req/s"
                )
    runs = {
        kind: TlsRuns(rps[kind, "plain"], rps[kind, "tls"], cpu_us[kind, "plain"], cpu_us[kind, "tls"])
        for kind in scripts
    }
    return TlsResult(describe_machine(), seed, connections, seconds, rounds, runs["kept"], runs["new"], errors)


def render(found: TlsResult) -> str:
    lines = []
    for name, runs in (("kept", found.kept), ("new", found.new)):
        lines.append(
            f"{name} connections: plain {statistics.median(runs.plain_rps):,.0f} req/s, "
            f"TLS {statistics.median(runs.tls_rps):,.0f}: {runs.throughput_cost:.1%} less; the gateway's CPU for a "
            f"request {statistics.median(runs.plain_cpu_us):.1f} µs and {statistics.median(runs.tls_cpu_us):.1f} µs, "
            f"{runs.cpu_ratio:.2f} times as much"
        )
    lines.append(
        f"medians of {found.rounds} rounds of {found.seconds:g} s, {found.connections} connections, "
        f"{found.errors} errors"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("tls", "What TLS on the gateway's port costs.")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run (default 3)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of four runs (default 7)")
    options = parser.parse_args(arguments)

    def take(work: Path, say: Say) -> TlsResult:
        require_wrk()
        workload = write_workload(work / "bundle", seed=options.seed)
        return measure(workload, work, options.seed, options.connections, options.seconds, options.rounds, say)

    return run_benchmark(options, take, render)


if __name__ == "__main__":
    sys.exit(main())
