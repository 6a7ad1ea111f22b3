"""What callers notice of the prediction log, and whether it has every row:
``python -m benchmarks.prediction_log --requests 1000000 --out FILE``.

Two labs run side by side: one logs, one does not. Short runs take turns and the order changes each round. In the end
the rows of the log's files, and the rows that it says it has lost, are compared with what its gateway has answered.

Without ``--rps`` callers ask as fast as they are answered. That shows what the log costs of the throughput, but its p99
is that of a full machine. With ``--rps`` requests come at random at that rate, which the machine must sustain, and
latency counts from the planned time: that shows what callers notice.
"""

from __future__ import annotations

import math
import re
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import ENDPOINT, Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.lab.bookkeeping import CUSTOMERS, bodies_of
from benchmarks.lab.lab import Arrangement, lab
from benchmarks.load.load_process import LoadProcess
from benchmarks.load.wrk import require_wrk, run_wrk, write_script
from divisions.prediction_log import FOLDER, LogPolicy

SETTLE_S = 60.0
"""How long the counts may take to agree: the gateway counts an answer some seconds later, once it is certain."""


class PredictionLogResult(msgspec.Struct, frozen=True, tag="prediction_log"):
    """``answered`` requests of one row each; ``rows`` are in the files, ``lost`` were counted as lost.

    ``rps`` is the rate of the open loop, 0 for a closed one. ``is_saturated`` says that the generator was late itself,
    so that the latencies have its own delay. The lists have one number for each round. ``p99_cost`` and
    ``throughput_cost`` are shares: the medians over the rounds of on / off less one, and of one less on / off.
    ``p99_interval`` has the median of the former in at least 95 % of cases; empty with fewer than six rounds.
    """

    machine: Machine
    seed: int
    connections: int
    seconds: float
    sample_bp: int
    answered: int
    rows: int
    lost: int
    on_p99_us: list[int]
    off_p99_us: list[int]
    on_rps: list[float]
    off_rps: list[float]
    p99_cost: float
    throughput_cost: float
    errors: int
    rps: float = 0.0
    is_saturated: bool = False
    p99_interval: tuple[float, ...] = ()


class Turns(msgspec.Struct):
    """What the runs of both labs have measured."""

    on_p99_us: list[int] = []
    off_p99_us: list[int] = []
    on_rps: list[float] = []
    off_rps: list[float] = []
    sent: int = 0
    errors: int = 0
    is_saturated: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One run."""

    p99_us: int
    rps: float
    requests: int
    errors: int
    is_saturated: bool = False


Ask = Callable[[str, float], Asked]
"""Sends requests to a URL for so many seconds."""


def closed_loop(script: Path, connections: int) -> Ask:
    """As fast as they are answered."""

    def ask(url: str, seconds: float) -> Asked:
        result = run_wrk(script, url, connections, seconds)
        return Asked(result.p99_us, result.rps, result.requests, result.errors)

    return ask


def open_loop(bodies: Path, rps: float, seed: int) -> Ask:
    """At random times, at a mean rate."""

    def ask(url: str, seconds: float) -> Asked:
        work = bodies.parent
        with closing(LoadProcess(url, bodies, rps, seconds, work / "samples.npz", work / "load.log", seed)) as load:
            load.wait_until_running()
            load.wait_until_ended(seconds + SETTLE_S)
            found = load.stop()
        errors = found.refused + found.failed + found.timed_out
        p99_us = round(found.latency.p99_ms * 1e3)
        return Asked(p99_us, found.achieved_rps, found.requests, errors, found.generator_saturated)

    return ask


def ratio(on: Sequence[float], off: Sequence[float]) -> float:
    """The median of the rounds' ratios.

    >>> ratio([2.0, 3.0], [1.0, 1.0])
    2.5
    """
    return statistics.median(one / other for one, other in zip(on, off, strict=True))


def interval(on: Sequence[float], off: Sequence[float]) -> tuple[float, ...]:
    """An interval for the median of the rounds' ratios less one: two of them in order of size, whatever their
    distribution (order statistics; the number of ratios below the median is binomial). Empty with too few rounds.

    >>> interval([3.0, 2.0, 1.0, 5.0, 4.0, 6.0], [1.0] * 6)
    (0.0, 5.0)
    >>> interval([1.0] * 5, [1.0] * 5)
    ()
    """
    ratios = sorted(one / other - 1.0 for one, other in zip(on, off, strict=True))
    num_ratios, left_out, outside = len(ratios), 0, 2.0 / 2 ** len(ratios)
    if outside > 0.05:
        return ()
    while (outside := outside + 2.0 * math.comb(num_ratios, left_out + 1) / 2**num_ratios) <= 0.05:
        left_out += 1
    return (round(ratios[left_out], 4), round(ratios[-1 - left_out], 4))


def total(text: str, metric: str) -> int:
    """The sum of a metric's samples in Prometheus' text format.

    >>> total('a_total{x="1"} 2.0\\na_total{x="2"} 3.0\\nab_total 7.0', "a_total")
    5
    """
    return round(sum(float(value) for value in re.findall(rf"^{metric}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


def counts(url: str) -> tuple[int, int, int]:
    """Requests that the gateway has answered, rows that its log has, and rows that it has lost."""
    with urllib.request.urlopen(url.partition("/api/")[0] + "/metrics", timeout=10.0) as reply:
        text = reply.read().decode()
    answered, kept = total(text, "divisions_requests_total"), total(text, "divisions_prediction_log_rows_total")
    return answered, kept, total(text, "divisions_prediction_log_lost_rows_total")


def settled(url: str, sent: int) -> tuple[int, int, int]:
    """The counts once all that was sent is in them, as far as that happens in time. Below 100 % rows are fewer."""
    ends_s, last = time.monotonic() + SETTLE_S, (0, 0, 0)
    while time.monotonic() < ends_s:
        found = counts(url)
        if found == last and found[0] >= sent:
            return found
        last = found
        time.sleep(2.0)
    return last


def rows_in(folder: Path) -> int:
    """Rows of the log's files, once nothing waits for its place any more."""
    import pyarrow.parquet as pq

    ends_s = time.monotonic() + SETTLE_S
    while any((folder / "spool").glob("*")) and time.monotonic() < ends_s:
        time.sleep(0.1)
    return sum(pq.read_metadata(path).num_rows for path in (folder / ENDPOINT).rglob("*.parquet"))


def measure_log(
    workload: Workload, work: Path, policy: LogPolicy, requests: int, ask: Ask, seconds: float, say: Say
) -> tuple[Turns, tuple[int, int, int]]:
    """Runs in turns until the lab that logs was sent so many requests; then what its gateway has counted."""
    turns = Turns([], [], [], [])
    folders = {True: work / "on", False: work / "off"}
    for folder in folders.values():
        folder.mkdir()
    with (
        lab(workload, folders[True], Arrangement(log=policy)) as on,
        lab(workload, folders[False], Arrangement()) as off,
    ):
        urls = {True: on.served.url, False: off.served.url}
        for switch, url in urls.items():
            warm = ask(url, 2.0)
            turns.sent += warm.requests if switch else 0
        while turns.sent < requests or not turns.on_rps:
            for switch in (True, False) if len(turns.on_rps) % 2 else (False, True):
                result = ask(urls[switch], seconds)
                (turns.on_p99_us if switch else turns.off_p99_us).append(result.p99_us)
                (turns.on_rps if switch else turns.off_rps).append(round(result.rps, 1))
                turns.errors += result.errors
                turns.is_saturated = turns.is_saturated or result.is_saturated
                turns.sent += result.requests if switch else 0
            say(f"{turns.sent:,} of {requests:,}: p99 on {turns.on_p99_us[-1]} us, off {turns.off_p99_us[-1]} us")
        return turns, settled(urls[True], turns.sent)


def render_prediction_log(found: PredictionLogResult) -> str:
    load = f"an open loop of {found.rps:g} req/s" if found.rps else f"{found.connections} connections in a closed loop"
    between = (
        f" (95 % interval {found.p99_interval[0]:+.1%} to {found.p99_interval[1]:+.1%})" if found.p99_interval else ""
    )
    late = "; THE GENERATOR WAS LATE ITSELF" if found.is_saturated else ""
    return (
        f"{found.answered:,} requests answered, {found.rows:,} rows logged, {found.lost:,} lost; p99 with the log"
        f" {statistics.median(found.on_p99_us):,.0f} us, without {statistics.median(found.off_p99_us):,.0f} us:"
        f" {found.p99_cost:+.1%}{between}; it costs {found.throughput_cost:.1%} of the throughput (medians of"
        f" {len(found.on_rps)} rounds of {found.seconds:g} s, {load}, a sample of"
        f" {found.sample_bp / 100:g} %, {found.errors} errors{late})"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("prediction_log", "What callers notice of the prediction log, and whether it is whole.")
    parser.add_argument("--requests", type=int, default=1_000_000, help="to the lab that logs (default 1000000)")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run (default 3)")
    parser.add_argument("--sample", type=float, default=100.0, help="percent that are logged (default 100)")
    parser.add_argument("--rps", type=float, default=0.0, help="rate of an open loop (default: a closed loop)")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> PredictionLogResult:
        machine = describe_machine()
        policy = LogPolicy(round(options.sample * 100))
        workload = write_workload(work / "bundle", seed=options.seed)
        bodies = bodies_of(workload, CUSTOMERS)
        if options.rps:
            rows = work / "bodies.jsonl"
            rows.write_bytes(b"\n".join(bodies) + b"\n")
            ask = open_loop(rows, options.rps, options.seed)
        else:
            require_wrk()
            script = work / "request.lua"
            write_script(script, bodies)
            ask = closed_loop(script, options.connections)
        turns, (answered, _, lost) = measure_log(workload, work, policy, options.requests, ask, options.seconds, say)
        return PredictionLogResult(
            machine,
            options.seed,
            options.connections,
            options.seconds,
            policy.sample_bp,
            answered,
            rows_in(work / "on" / "home" / FOLDER),
            lost,
            turns.on_p99_us,
            turns.off_p99_us,
            turns.on_rps,
            turns.off_rps,
            round(ratio(turns.on_p99_us, turns.off_p99_us) - 1.0, 4),
            round(1.0 - ratio(turns.on_rps, turns.off_rps), 4),
            turns.errors,
            options.rps,
            turns.is_saturated,
            interval(turns.on_p99_us, turns.off_p99_us),
        )

    return run_benchmark(options, measure, render_prediction_log)


if __name__ == "__main__":
    sys.exit(main())
