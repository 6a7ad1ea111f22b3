"""What a good client notices of a thousand slow callers: ``python -m benchmarks.slow --output json``.

Slow heads (slowloris), slow bodies, answers that nobody reads, connections that do nothing, and TLS handshakes that
stop half-way. Each kind holds a thousand connections, from a process of its own, and opens again what the gateway
closes. Meanwhile a good client asks at a steady pace, mostly on kept connections, each tenth time on a new one. Latency
counts from the planned time.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.harness.bench_bundle import Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.lab.certificates import write_port_pair
from benchmarks.lab.lab import Arrangement, lab
from benchmarks.stress.fuzz_client import read_reply
from benchmarks.stress.slow_callers import WAYS, Slowness

ALONE = "alone"
KEPT = 8
NEW_EACH = 10
DEADLINE_S = 5.0
_START_S = 60.0


class Noticed(msgspec.Struct, frozen=True):
    """What the good client got beside one kind of slow callers. ``closed`` are their connections that were closed."""

    way: str
    is_encrypted: bool
    requests: int
    ok: int
    p50_ms: float
    p99_ms: float
    new_p99_ms: float
    closed: int

    @property
    def success(self) -> float:
        return self.ok / self.requests


class SlowResult(msgspec.Struct, frozen=True, tag="slow"):
    """``rows`` are of each kind, without and with TLS."""

    machine: Machine
    seed: int
    connections: int
    rate_rps: float
    seconds: float
    rows: list[Noticed]


class GoodClient:
    """Asks at a steady pace.

    Args:
        port: of the gateway, on the loopback interface.
        request: its bytes.
        context: of TLS; None without.
    """

    def __init__(self, port: int, request: bytes, context: ssl.SSLContext | None) -> None:
        self._port = port
        self._request = request
        self._context = context
        self._kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.ms: list[tuple[bool, float]] = []
        """Of each answered request: whether on a new connection, and how long it took."""
        self.requests = 0

    async def run(self, rate_rps: float, seconds: float) -> None:
        begun_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate_rps * seconds)):
                planned_s = begun_s + number / rate_rps
                await asyncio.sleep(planned_s - time.monotonic())
                self.requests += 1
                group.create_task(self._ask(planned_s, is_new=number % NEW_EACH == 0))
        for _, writer in self._kept:
            writer.close()

    async def _ask(self, planned_s: float, *, is_new: bool) -> None:
        streams = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                streams = await self._open() if is_new or not self._kept else self._kept.pop()
                streams[1].write(self._request)
                status, is_last = await read_reply(streams[0], is_head=False)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            status, is_last = 0, True
        if status == 200:
            self.ms.append((is_new, 1000 * (time.monotonic() - planned_s)))
        if streams is not None and (is_new or is_last or len(self._kept) >= KEPT):
            streams[1].close()
        elif streams is not None:
            self._kept.append(streams)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)


def measure_one(
    port: int, path: str, body: bytes, way: str, connections: int, rate_rps: float, seconds: float, certificate: str
) -> Noticed:
    """Asks while callers of one kind are there; of none if ``way`` is `ALONE`."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    context = ssl.create_default_context(cafile=certificate) if certificate else None
    client = GoodClient(port, head.encode() + b"\r\n\r\n" + body, context)
    closed = 0
    if way == ALONE:
        asyncio.run(client.run(rate_rps, seconds))
    else:
        asked = Slowness(way, port, path, connections, bool(certificate))
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stress.slow_callers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as callers:
            assert callers.stdin is not None
            assert callers.stdout is not None
            try:
                callers.stdin.write(msgspec.json.encode(asked) + b"\n")
                callers.stdin.flush()
                if callers.stdout.readline() != b"there\n":
                    raise RuntimeError(f"the callers of {way} did not start")
                asyncio.run(client.run(rate_rps, seconds))
                callers.stdin.close()
                closed = int(callers.stdout.readline())
            finally:
                callers.kill()
    every = [ms for _, ms in client.ms]
    new = [ms for is_new, ms in client.ms if is_new]
    p50, p99 = (round(float(np.percentile(every, q)), 2) if every else 0.0 for q in (50, 99))
    new_p99 = round(float(np.percentile(new, 99)), 2) if new else 0.0
    return Noticed(way, bool(certificate), client.requests, len(client.ms), p50, p99, new_p99, closed)


def measure(
    workload: Workload, work: Path, say: Say, connections: int, rate_rps: float, seconds: float
) -> list[Noticed]:
    rows: list[Noticed] = []
    for is_encrypted in (False, True):
        folder = work / ("tls" if is_encrypted else "plain")
        folder.mkdir()
        pair = write_port_pair(folder) if is_encrypted else None
        with lab(workload, folder, Arrangement(port_pair=pair)) as running:
            address, _, path = running.served.url.partition("://")[2].partition("/")
            port = int(address.partition(":")[2])
            for way in (ALONE, *WAYS):
                if way == "half a handshake" and not is_encrypted:
                    continue
                certificate = pair[0] if pair else ""
                found = measure_one(port, f"/{path}", workload.body, way, connections, rate_rps, seconds, certificate)
                rows.append(found)
                say(
                    f"{'TLS' if is_encrypted else 'plain'}, {way}: {found.success:.3%} of {found.requests:,}, "
                    f"p99 {found.p99_ms:.1f} ms, on new connections {found.new_p99_ms:.1f} ms; {found.closed:,} closed"
                )
    return rows


def render(found: SlowResult) -> str:
    return "\n".join(
        f"{'TLS' if row.is_encrypted else 'plain'}, {found.connections:,} connections, {row.way}: {row.success:.3%} of "
        f"{row.requests:,} answered, p50 {row.p50_ms:.2f} ms, p99 {row.p99_ms:.2f} ms, p99 of new connections "
        f"{row.new_p99_ms:.2f} ms; the gateway closed {row.closed:,}"
        for row in found.rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("slow", "What a good client notices of slow callers.")
    parser.add_argument("--connections", type=int, default=1_000, help="of slow callers (default 1000)")
    parser.add_argument(
        "--rate", type=float, default=200.0, help="requests per second of the good client (default 200)"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run (default 20)")
    options = parser.parse_args(arguments)

    def take(work: Path, say: Say) -> SlowResult:
        workload = write_workload(work / "bundle", num_features=4, seed=options.seed, widths=(16,))
        rows = measure(workload, work, say, options.connections, options.rate, options.seconds)
        return SlowResult(describe_machine(), options.seed, options.connections, options.rate, options.seconds, rows)

    return run_benchmark(options, take, render)


if __name__ == "__main__":
    sys.exit(main())
