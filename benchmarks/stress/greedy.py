"""What one greedy client costs a well-behaved one: ``python -m benchmarks.greedy --output json``.

A well-behaved caller predicts at a steady rate, alone and then beside a greedy client of one open route after the
other (`benchmarks.stress.greedy_client`). Latency counts from the scheduled time. The greedy client is a process of its
own and takes a processor too. On two cores that alone costs something: ``busy`` shows how much, beside a process that
only computes.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.harness.bench_bundle import ENDPOINT, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.lab.lab import Arrangement, lab
from benchmarks.load.http_client import ConnectionPool, Exchange, Outcome, Target
from benchmarks.stress.greedy_client import KINDS

RATE_RPS = 100.0
DEADLINE_S = 5.0
CONNECTIONS = 16
ALONE = "alone"
BUSY = "busy"
_BEGINS_S = 1.5
"""Until the greedy client has started and opened its connections."""


class Beside(msgspec.Struct, frozen=True):
    """The well-behaved caller's requests beside one greedy client; ``not_ok`` are all but 2xx."""

    kind: str
    requests: int
    not_ok: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class GreedyResult(msgspec.Struct, frozen=True, tag="greedy"):
    machine: Machine
    seed: int
    seconds: float
    rate_rps: float
    beside: list[Beside]


async def _steady(url: str, body: bytes, seconds: float) -> tuple[list[float], int]:
    """Predicts at `RATE_RPS`; returns latencies in seconds and how many requests were not answered with 2xx."""
    took_s: list[float] = []
    not_ok = 0

    def on_done(exchange: Exchange, now_s: float) -> None:
        nonlocal not_ok
        took_s.append(now_s - exchange.scheduled_s)
        not_ok += exchange.outcome is not Outcome.OK

    target = Target.parse(url)
    request = target.encode_post(body)
    pool = ConnectionPool(asyncio.get_running_loop(), target, CONNECTIONS, DEADLINE_S, on_done)
    begin_s = time.monotonic()
    for number in range(int(seconds * RATE_RPS)):
        scheduled_s = begin_s + number / RATE_RPS
        await asyncio.sleep(max(0.0, scheduled_s - time.monotonic()))
        pool.submit(Exchange(scheduled_s, request))
        pool.expire(time.monotonic())
    while pool.in_flight:
        await asyncio.sleep(0.01)
        pool.expire(time.monotonic())
    pool.close()
    return took_s, not_ok


@contextlib.contextmanager
def _greedy(kind: str, port: int, seconds: float) -> Iterator[None]:
    """The process that ``kind`` names; none for `ALONE`."""
    if kind == ALONE:
        yield
        return
    command = [sys.executable, "-m", "benchmarks.stress.greedy_client", str(port), ENDPOINT, kind, str(seconds)]
    if kind == BUSY:
        command = [sys.executable, "-c", "while True: pass"]
    process = subprocess.Popen(command)
    try:
        time.sleep(_BEGINS_S)
        yield
    finally:
        process.kill()
        process.wait()


def measure(work: Path, say: Say, seconds: float, seed: int, kinds: Sequence[str]) -> GreedyResult:
    workload = write_workload(work / "bundle", seed=seed)
    beside = []
    with lab(workload, work, Arrangement()) as running:
        url, body = running.served.url, running.served.body
        port = Target.parse(url).port
        asyncio.run(_steady(url, body, 1.0))
        for kind in (ALONE, BUSY, *kinds):
            with _greedy(kind, port, seconds + 60.0):
                took_s, not_ok = asyncio.run(_steady(url, body, seconds))
            p50_ms, p99_ms, max_ms = np.percentile(np.array(took_s) * 1e3, (50, 99, 100))
            one = Beside(kind, len(took_s), not_ok, *(round(float(ms), 2) for ms in (p50_ms, p99_ms, max_ms)))
            beside.append(one)
            say(_line(one))
            time.sleep(_BEGINS_S)  # what the greedy client left behind is answered or dropped
    return GreedyResult(describe_machine(), seed, seconds, RATE_RPS, beside)


def _line(one: Beside) -> str:
    return (
        f"{one.kind}: p50 {one.p50_ms:.1f} ms, p99 {one.p99_ms:.1f} ms, longest {one.max_ms:.1f} ms; "
        f"{one.not_ok:,} of {one.requests:,} not answered with 2xx"
    )


def render(found: GreedyResult) -> str:
    return "\n".join(map(_line, found.beside))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("greedy", "What a greedy client of an open route costs a well-behaved caller.")
    parser.add_argument("--seconds", type=float, default=10.0, help="beside each greedy client (default 10)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"greedy clients (default {','.join(KINDS)})")
    options = parser.parse_args(arguments)
    kinds = options.kinds.split(",")
    if not set(kinds) <= set(KINDS):
        parser.error(f"--kinds: there are {', '.join(KINDS)}")
    return run_benchmark(options, lambda work, say: measure(work, say, options.seconds, options.seed, kinds), render)


if __name__ == "__main__":
    sys.exit(main())
