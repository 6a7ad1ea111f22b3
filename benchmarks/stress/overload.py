"""Overload: ``python -m benchmarks.overload --output json``.

A cluster of its own, by the product's own commands. Its peak is measured in a closed loop. Then a steady open loop of
70 % of it runs through, and on top of it comes as much as makes 2, and then 10 times the peak, for ``--seconds``.

By default the replicas are slow on purpose (a fault of ``--batch-delay-ms``), so that the peak is one that generators
on the same machine can exceed ten times over: what saturates is the replicas, which is what admission control is for.
With ``--batch-delay-ms 0`` the gateway itself is the limit; on a small machine the generators then take the cores that
they measure, and ``sent_rps`` and ``generator_saturated`` say how far they fell behind.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.probes import HealthProbe, HealthResult, MemoryProbe, Periodically
from benchmarks.harness.process_stats import listeners
from benchmarks.harness.product_cluster import ProductCluster, quiet_cluster
from benchmarks.lab.bookkeeping import bodies_of
from benchmarks.load.load_process import LoadProcess
from benchmarks.load.report import LoadResult
from benchmarks.load.samples import Samples
from benchmarks.load.wrk import require_wrk, run_wrk, write_script
from benchmarks.peers.divisions_gateway import start_version
from benchmarks.stress.recovery import Spell, recovery_s, spell_of

STEADY = 0.7
FACTORS = (2.0, 10.0)
REPLICAS = 2
CUSTOMERS = 1_000
MAX_GENERATOR_RPS = 4_000
"""One generator process keeps up with about this; more load takes more processes, up to two per core."""
_STARTING_S = 30.0


class Overload(msgspec.Struct, frozen=True):
    """One overload. ``goodput_share`` is of the peak; ``recovery_s`` is None when latency did not come back in time.

    ``sent_rps`` is what the generators really sent, ``lag_p99_ms`` how late the latest of them was.
    """

    factor: float
    before: Spell
    during: Spell
    goodput_share: float
    memory_growth_mb: float
    recovery_s: float | None
    health: HealthResult
    sent_rps: float
    lag_p99_ms: float
    generators: int
    generator_saturated: bool


class OverloadResult(msgspec.Struct, frozen=True, tag="overload"):
    """``peak_rps`` is the closed loop's. ``steady`` is the open loop of 70 % alone."""

    machine: Machine
    seed: int
    seconds: float
    batch_delay_ms: float
    max_batch: int
    replicas: int
    connections: int
    peak_rps: float
    steady: Spell
    overloads: list[Overload]


class Study:
    """One cluster under several loads."""

    def __init__(self, work: Path, url: str, port: int, bodies: Sequence[bytes], seed: int, say: Say) -> None:
        self._work = work
        self._url = url
        self._port = port
        self._rows = work / "bodies.jsonl"
        self._rows.write_bytes(b"\n".join(bodies) + b"\n")
        self._seed = seed
        self._say = say
        self._started = 0

    def peak_rps(self, bodies: Sequence[bytes], connections: int, seconds: float) -> float:
        """The closed loop's rate after a warm-up."""
        script = self._work / "request.lua"
        write_script(script, list(bodies))
        run_wrk(script, self._url, connections, 2.0)
        return run_wrk(script, self._url, connections, seconds).rps

    def overload(self, peak_rps: float, factor: float, baseline_s: float, seconds: float, after_s: float) -> Overload:
        """One overload on top of the steady load; see the module."""
        extra_rps = (factor - STEADY) * peak_rps
        count = max(1, min(math.ceil(extra_rps / MAX_GENERATOR_RPS), 2 * (os.cpu_count() or 1)))
        memory = MemoryProbe(listeners(self._port))
        health = HealthProbe(self._port)
        with ExitStack() as stack:
            steady = self._generator(stack, STEADY * peak_rps, baseline_s + seconds + after_s + _STARTING_S)
            steady.wait_until_running()
            time.sleep(baseline_s)
            stack.enter_context(Periodically(memory.look))
            stack.enter_context(Periodically(health.look))
            self._say(f"{factor:g} x: {extra_rps:,.0f} req/s more from {count} processes for {seconds:g} s")
            others = [self._generator(stack, extra_rps / count, seconds) for _ in range(count)]
            for other in others:
                other.wait_until_ended(seconds + _STARTING_S)
            results = [other.stop() for other in others]
            time.sleep(after_s)
            results.append(steady.stop())
        runs = [self._samples(number) for number in range(self._started - count, self._started)]
        return _sum_up(factor, peak_rps, self._samples(self._started - count - 1), runs, results, memory, health)

    def steady(self, peak_rps: float, seconds: float) -> Spell:
        """The open loop of 70 % alone."""
        with ExitStack() as stack:
            load = self._generator(stack, STEADY * peak_rps, seconds)
            load.wait_until_ended(seconds + _STARTING_S)
            load.stop()
        run = self._samples(self._started - 1)
        return spell_of([run], run.start_wall_s, run.start_wall_s + float(run.scheduled_s.max(initial=0.0)))

    def _generator(self, stack: ExitStack, rate_rps: float, seconds: float) -> LoadProcess:
        number = self._started
        self._started += 1
        load = LoadProcess(
            self._url,
            self._rows,
            rate_rps,
            seconds,
            self._work / f"samples-{number}.npz",
            self._work / f"load-{number}.log",
            seed=self._seed + number,
            connections=1_024,
        )
        stack.callback(load.close)
        return load

    def _samples(self, number: int) -> Samples:
        return Samples.load(self._work / f"samples-{number}.npz")


def _sum_up(
    factor: float,
    peak_rps: float,
    steady: Samples,
    runs: Sequence[Samples],
    results: Sequence[LoadResult],
    memory: MemoryProbe,
    health: HealthProbe,
) -> Overload:
    # While all generators send: from the last one's beginning to the first one's end.
    begins_s = max(run.start_wall_s for run in runs)
    ends_s = min(run.start_wall_s + float(run.scheduled_s.max(initial=0.0)) for run in runs)
    before = (steady.start_wall_s, min(run.start_wall_s for run in runs))
    over_s = max(run.start_wall_s + float(run.scheduled_s.max(initial=0.0)) for run in runs)
    during = spell_of([steady, *runs], begins_s, ends_s)
    return Overload(
        factor=factor,
        before=spell_of([steady], *before),
        during=during,
        goodput_share=round(during.goodput_rps / peak_rps, 4),
        memory_growth_mb=round((memory.most_bytes - memory.first_bytes) / 1e6, 1),
        recovery_s=recovery_s(steady, before, over_s),
        health=health.result(),
        sent_rps=round(sum(result.achieved_rps for result in results), 1),
        lag_p99_ms=max(result.lag.p99_ms for result in results),
        generators=len(results),
        generator_saturated=any(result.generator_saturated for result in results),
    )


def render_overload(found: OverloadResult) -> str:
    steady = found.steady
    lines = [
        f"peak {found.peak_rps:,.0f} req/s (closed loop, {found.connections} connections); at 70 %: p50 "
        f"{steady.p50_ms:.1f} ms, p99 {steady.p99_ms:.1f} ms ({steady.p99_ms / max(steady.p50_ms, 1e-9):.1f} x)"
    ]
    for one in found.overloads:
        recovery = "did not come back" if one.recovery_s is None else f"back after {one.recovery_s:.1f} s"
        lines.append(
            f"{one.factor:g} x: goodput {one.goodput_share:.0%} of peak, {one.during.refused:,} refused (p99 "
            f"{one.during.refused_p99_ms:.1f} ms), {one.during.failed + one.during.timed_out:,} failed or timed out, "
            f"memory +{one.memory_growth_mb:.0f} MB, {recovery}, health {one.health.failed} of {one.health.asked} "
            f"failed; sent {one.sent_rps:,.0f} req/s, up to {one.lag_p99_ms:.1f} ms late (p99)"
            + (" GENERATOR SATURATED" if one.generator_saturated else "")
        )
    return "\n".join(lines)


def run_study(
    cluster: ProductCluster,
    workload: Workload,
    work: Path,
    seed: int,
    seconds: float,
    batch_delay_ms: float,
    max_batch: int,
    connections: int,
    say: Say,
) -> OverloadResult:
    """Everything, on a cluster that is up and allows faults."""
    machine = describe_machine()
    served = start_version(cluster, workload, replicas=REPLICAS, max_batch=max_batch, batch_delay_ms=batch_delay_ms)
    bodies = bodies_of(workload, CUSTOMERS)
    study = Study(work, served.url, cluster.port, bodies, seed, say)
    settle_s = min(10.0, max(2.0, seconds / 3))
    peak_rps = study.peak_rps(bodies, connections, settle_s)
    say(f"peak: {peak_rps:,.0f} req/s")
    steady = study.steady(peak_rps, 2 * settle_s)
    overloads = [study.overload(peak_rps, factor, settle_s, seconds, settle_s) for factor in FACTORS]
    return OverloadResult(
        machine,
        seed,
        seconds,
        batch_delay_ms,
        max_batch,
        REPLICAS,
        connections,
        round(peak_rps, 1),
        steady,
        overloads,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("overload", "More load than there is capacity for.")
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, help="length of each overload (default 60)")
    add("--batch-delay-ms", type=float, default=40.0, help="slows replicas down on purpose; 0: not (default 40)")
    add("--max-batch", type=int, default=8, help="batch size cap (default 8)")
    add("--connections", type=int, default=64, help="of the closed loop (default 64)")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> OverloadResult:
        require_wrk()
        workload = write_workload(work / "bundle", seed=options.seed)
        with quiet_cluster(work, say, "--allow-faults") as cluster:
            return run_study(
                cluster,
                workload,
                work,
                options.seed,
                options.seconds,
                options.batch_delay_ms,
                options.max_batch,
                options.connections,
                say,
            )

    return run_benchmark(options, measure, render_overload)


if __name__ == "__main__":
    sys.exit(main())
