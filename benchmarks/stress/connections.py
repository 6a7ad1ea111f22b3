"""Memory of closed connections: ``python -m benchmarks.connections --output json``.

Thousands of connections, each with a body of 1 MiB, come and go: whole requests that are answered, and others that the
caller leaves half-way. The gateway's memory is read after each tenth. Nothing of a closed connection may stay.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.process_stats import rss_bytes
from benchmarks.lab.lab import Arrangement, lab

BODY_BYTES = 1_048_576
AT_A_TIME = 8
PARTS = 10
KINDS = ("answered", "left half-way", "chunks left half-way")


class ConnectionsResult(msgspec.Struct, frozen=True, tag="connections"):
    """``rss_mb`` is the gateway's memory before, and after each tenth."""

    machine: Machine
    connections: int
    body_bytes: int
    rss_mb: list[float]


def request_of(path: str, kind: str) -> bytes:
    """What one connection sends."""
    begin = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    body = b" " * BODY_BYTES
    if kind == "chunks left half-way":
        return begin + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n" % (len(body), body)
    whole = begin + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return whole if kind == "answered" else whole[:-1]


async def come_and_go(port: int, requests: Sequence[bytes], is_answered: Sequence[bool]) -> None:
    """Opens one connection after the other; waits for the reply where there is one."""
    for data, has_reply in zip(requests, is_answered, strict=True):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        if has_reply:
            await reader.readuntil(b"\r\n\r\n")
        else:
            await writer.drain()
        writer.close()


async def part(port: int, path: str, count: int) -> None:
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    data = {kind: request_of(path, kind) for kind in KINDS}
    async with asyncio.TaskGroup() as group:
        for first in range(AT_A_TIME):
            mine = kinds[first::AT_A_TIME]
            group.create_task(come_and_go(port, [data[kind] for kind in mine], [kind == "answered" for kind in mine]))


def measure(work: Path, say: Say, connections: int, seed: int) -> ConnectionsResult:
    workload = write_workload(work / "bundle", num_features=4, seed=seed, widths=(16,))
    with lab(workload, work, Arrangement()) as running:
        address, _, path = running.served.url.removeprefix("http://").partition("/")
        port = int(address.partition(":")[2])
        (gateway,) = running.gateway_pids
        asyncio.run(part(port, f"/{path}", 2 * AT_A_TIME))
        rss_mb = [rss_bytes(gateway) / 1e6]
        for number in range(PARTS):
            asyncio.run(part(port, f"/{path}", connections // PARTS))
            rss_mb.append(rss_bytes(gateway) / 1e6)
            say(f"{(number + 1) * connections // PARTS:,} connections: {rss_mb[-1]:.1f} MB")
    return ConnectionsResult(describe_machine(), connections, BODY_BYTES, [round(each, 1) for each in rss_mb])


def render(found: ConnectionsResult) -> str:
    after = ", ".join(map(str, found.rss_mb[1:]))
    return f"{found.connections:,} connections with 1 MiB each: {found.rss_mb[0]} MB before, then {after}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("connections", "Memory of connections that have closed.")
    parser.add_argument("--connections", type=int, default=10_000, help="how many (default 10000)")
    options = parser.parse_args(arguments)
    return run_benchmark(options, lambda work, say: measure(work, say, options.connections, options.seed), render)


if __name__ == "__main__":
    sys.exit(main())
