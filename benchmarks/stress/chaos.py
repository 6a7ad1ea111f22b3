"""Chaos: ``python -m benchmarks.chaos --output json``. Replicas killed and frozen under load; callers must not notice.

A cluster of its own, by the product's own commands, with six replicas that are slow on purpose (a fault of some ms
per batch), so that one generator can send 70 % of the peak, and five replicas can carry it at 84 % of what they can do.
Twenty times one replica is killed with SIGKILL as soon as all six are ready; then one is frozen with SIGSTOP. Only
processes of this cluster are touched: their pids come from its status, and their environment must name its home.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.harness.bench_bundle import write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.product_cluster import ProductCluster, quiet_cluster
from benchmarks.lab.bookkeeping import bodies_of
from benchmarks.load.load_process import LoadProcess
from benchmarks.load.samples import Samples
from benchmarks.load.wrk import require_wrk, run_wrk, write_script
from benchmarks.peers.divisions_gateway import start_version
from benchmarks.stress.chaos_result import ChaosResult, Frozen, Killed, added_p99_ms, render_chaos, touched_by
from benchmarks.stress.recovery import spell_of
from divisions.errors import ClusterError, DivisionsError
from divisions.status import ReplicaStatus

REPLICAS = 6
LOAD_SHARE = 0.7
MAX_BATCH = 8
BATCH_DELAY_MS = 15.0
CUSTOMERS = 1_000
_BACK_S = 60.0
_POLL_S = 0.1


class Victims:
    """The replicas of one cluster, to be killed and frozen."""

    def __init__(self, cluster: ProductCluster, home: Path, seed: int) -> None:
        self._cluster = cluster
        self._home = home
        self._rng = random.Random(seed)
        self._signalled: set[int] = set()

    def ready(self) -> list[ReplicaStatus]:
        try:
            with self._cluster.client() as client:
                return [replica for replica in client.status().replicas if replica.ready and replica.pid]
        except DivisionsError:
            return []

    def wait_for_all(self) -> list[ReplicaStatus]:
        """Raises: ClusterError: not all replicas are ready in time."""
        ends_s = time.monotonic() + _BACK_S
        while time.monotonic() < ends_s:
            found = [replica for replica in self.ready() if replica.pid not in self._signalled]
            if len({replica.pid for replica in found}) >= REPLICAS:
                return found
            time.sleep(_POLL_S)
        raise ClusterError(
            f"{REPLICAS} replicas were not ready within {_BACK_S:g} s", remedy=f"see {self._home / 'logs'}"
        )

    def signal_one(self, number: int) -> tuple[ReplicaStatus, float]:
        """Sends a signal to any of them; returns which, and when (wall-clock)."""
        victim = self._rng.choice(self.wait_for_all())
        if not _is_of(victim.pid, self._home):
            raise ClusterError(f"process {victim.pid} is not of this benchmark's cluster", remedy="report this")
        self._signalled.add(victim.pid)
        os.kill(victim.pid, number)
        return victim, time.time()


def _is_of(pid: int, home: Path) -> bool:
    with suppress(OSError):
        return f"DIVISIONS_HOME={home}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def kill_replicas(victims: Victims, kills: int, say: Say) -> list[float]:
    """Kills one after the other; returns when (wall-clock)."""
    times_s = []
    for number in range(1, kills + 1):
        victim, at_s = victims.signal_one(signal.SIGKILL)
        times_s.append(at_s)
        say(f"kill {number}/{kills}: {victim.name} (pid {victim.pid})")
    victims.wait_for_all()
    return times_s


def freeze_replica(victims: Victims, watch_s: float, say: Say) -> tuple[float, float | None]:
    """Freezes one; returns when (wall-clock), and after how long the status no longer called it ready."""
    victim, at_s = victims.signal_one(signal.SIGSTOP)
    say(f"frozen: {victim.name} (pid {victim.pid})")
    unready_s: float | None = None
    try:
        while time.time() < at_s + watch_s:
            found = victims.ready()
            if unready_s is None and found and victim.pid not in {replica.pid for replica in found}:
                unready_s = round(time.time() - at_s, 2)
            time.sleep(_POLL_S)
    finally:
        with suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGCONT)  # so that it can be stopped in order
    return at_s, unready_s


def run_chaos(cluster: ProductCluster, work: Path, seed: int, kills: int, freeze_s: float, say: Say) -> ChaosResult:
    """Everything, on a cluster that is up and allows faults."""
    machine = describe_machine()
    workload = write_workload(work / "bundle", seed=seed)
    served = start_version(cluster, workload, replicas=REPLICAS, max_batch=MAX_BATCH, batch_delay_ms=BATCH_DELAY_MS)
    victims = Victims(cluster, work / "home", seed)
    victims.wait_for_all()
    bodies = bodies_of(workload, CUSTOMERS)
    script, rows = work / "request.lua", work / "bodies.jsonl"
    write_script(script, bodies)
    rows.write_bytes(b"\n".join(bodies) + b"\n")
    run_wrk(script, served.url, 64, 2.0)
    peak_rps = run_wrk(script, served.url, 64, 5.0).rps
    say(f"peak {peak_rps:,.0f} req/s with {REPLICAS} replicas; load {LOAD_SHARE * peak_rps:,.0f} req/s")
    with ExitStack() as stack:
        longest_s = 10 + kills * _BACK_S + freeze_s + 2 * _BACK_S
        load = LoadProcess(
            served.url, rows, LOAD_SHARE * peak_rps, longest_s, work / "samples.npz", work / "load.log", seed
        )
        stack.callback(load.close)
        load.wait_until_running()
        time.sleep(5.0)
        kill_times_s = kill_replicas(victims, kills, say)
        calm_s = time.time() + 2.0
        time.sleep(5.0)
        frozen_s, unready_s = freeze_replica(victims, freeze_s, say)
        result = load.stop()
    run = Samples.load(work / "samples.npz")
    before = spell_of([run], run.start_wall_s + 1.0, kill_times_s[0])
    return ChaosResult(
        machine=machine,
        seed=seed,
        replicas=REPLICAS,
        peak_rps=round(peak_rps, 1),
        load_rps=round(LOAD_SHARE * peak_rps, 1),
        before=before,
        killed=Killed(kills, spell_of([run], kill_times_s[0], calm_s), added_p99_ms(run, kill_times_s, before.p99_ms)),
        frozen=Frozen(
            spell_of([run], frozen_s, frozen_s + freeze_s),
            *touched_by(run, frozen_s, freeze_s, before.p99_ms),
            unready_s,
        ),
        reasons=result.reasons,
        generator_saturated=result.generator_saturated,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("chaos", "Replicas killed and frozen under load.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--freeze-s", type=float, default=15.0, help="how long one stays frozen (default 15)")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> ChaosResult:
        require_wrk()
        with quiet_cluster(work, say, "--allow-faults") as cluster:
            return run_chaos(cluster, work, options.seed, options.kills, options.freeze_s, say)

    return run_benchmark(options, measure, render_chaos)


if __name__ == "__main__":
    sys.exit(main())
