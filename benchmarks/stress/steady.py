"""The open loop at 70 % of the peak: ``python -m benchmarks.steady --output json``.

It starts its own cluster with the `divisions` commands. The cluster has one replica. Its model takes about half a
millisecond per row, so that one generator process can send 70 % of the closed loop's rate. Nothing is slowed down on
purpose: the result shows the queueing of random arrivals, and everything else that delays a request.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import write_workload
from benchmarks.harness.command import Say, benchmark_parser, parse_counts, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.product_cluster import ProductCluster, quiet_cluster
from benchmarks.lab.bookkeeping import bodies_of
from benchmarks.load.wrk import require_wrk
from benchmarks.peers.divisions_gateway import start_version
from benchmarks.stress.chaos_result import client_errors
from benchmarks.stress.overload import CUSTOMERS, STEADY, Study
from benchmarks.stress.recovery import Spell

WIDTHS = "3072,3072,3072"
MAX_BATCH = 32
CONNECTIONS = 64
_PEAK_S = 8.0


class SteadyResult(msgspec.Struct, frozen=True, tag="steady"):
    """One measurement per round; ``peak_rps`` is the rate of the closed loop just before it."""

    machine: Machine
    seed: int
    seconds: float
    connections: int
    widths: list[int]
    peak_rps: list[float]
    rounds: list[Spell]


def tail_ratio(spell: Spell) -> float:
    """p99 divided by the median."""
    return spell.p99_ms / max(spell.p50_ms, 1e-9)


def render_steady(found: SteadyResult) -> str:
    return "\n".join(
        f"{spell.planned_rps:,.0f} of {peak_rps:,.0f} req/s: p50 {spell.p50_ms:.2f} ms, p99 {spell.p99_ms:.2f} ms "
        f"({tail_ratio(spell):.1f} x), {client_errors(spell):,} not answered"
        for peak_rps, spell in zip(found.peak_rps, found.rounds, strict=True)
    )


def measure_rounds(
    cluster: ProductCluster, work: Path, widths: Sequence[int], seed: int, seconds: float, rounds: int, say: Say
) -> tuple[list[float], list[Spell]]:
    """Peak and open loop in turns, on a cluster that is up."""
    workload = write_workload(work / "bundle", seed=seed, widths=widths)
    served = start_version(cluster, workload, max_batch=MAX_BATCH)
    bodies = bodies_of(workload, CUSTOMERS)
    study = Study(work, served.url, cluster.port, bodies, seed, say)
    peaks_rps, spells = [], []
    for number in range(1, rounds + 1):
        peaks_rps.append(round(study.peak_rps(bodies, CONNECTIONS, _PEAK_S), 1))
        say(f"round {number}/{rounds}: peak {peaks_rps[-1]:,.0f} req/s, now {STEADY:.0%} of it for {seconds:g} s")
        spells.append(study.steady(peaks_rps[-1], seconds))
    return peaks_rps, spells


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("steady", "Random arrivals at 70 % of the peak.")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each open loop (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="closed and open loops in turns (default 3)")
    parser.add_argument("--widths", default=WIDTHS, help=f"units of the model's layers (default {WIDTHS})")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> SteadyResult:
        require_wrk()
        widths = parse_counts("--widths", options.widths)
        machine = describe_machine()
        with quiet_cluster(work, say) as cluster:
            peaks_rps, spells = measure_rounds(
                cluster, work, widths, options.seed, options.seconds, options.rounds, say
            )
        return SteadyResult(machine, options.seed, options.seconds, CONNECTIONS, list(widths), peaks_rps, spells)

    return run_benchmark(options, measure, render_steady)


if __name__ == "__main__":
    sys.exit(main())
