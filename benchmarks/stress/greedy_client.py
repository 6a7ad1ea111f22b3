"""A greedy client, as a process of its own: ``python -m benchmarks.stress.greedy_client PORT ENDPOINT KIND SECONDS``.

It keeps every connection full of pipelined requests of one open route, and takes the replies as fast as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Greed:
    """What one greedy client does: ``burst`` requests at once on each of its connections, again and again."""

    connections: int
    burst: int
    method: str
    path: str
    body: bytes = b""

    def data(self, endpoint: str) -> bytes:
        path = self.path.format(endpoint=endpoint)
        head = f"{self.method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if self.body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n"
        return (head.encode() + b"\r\n" + self.body) * self.burst


KINDS = {
    "metrics": Greed(20, 900, "GET", "/metrics"),
    "files": Greed(200, 60, "GET", "/page/vendor/uPlot.iife.min.js"),
    "index": Greed(50, 200, "GET", "/"),
    "health": Greed(50, 500, "GET", "/healthz"),
    "metadata": Greed(50, 200, "GET", "/v2/models/{endpoint}"),
    "nowhere": Greed(50, 200, "GET", "/nowhere"),
    "malformed": Greed(50, 500, "POST", "/api/v2/predict/{endpoint}", b"{"),
    "customers": Greed(
        8,
        1,
        "POST",
        "/api/v2/predict/{endpoint}",
        b'{"instances":[' + b",".join([b'{"customer_id":"c-1"}'] * 4_096) + b"]}",
    ),
}
"""Greedy clients by name: 47 KB of pipelined scrapes, the page's largest file, look-ups of many customers."""


async def _keep_full(port: int, data: bytes) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            feeding = asyncio.ensure_future(_feed(writer, data))
            try:
                while await reader.read(1 << 20):
                    pass
            finally:
                feeding.cancel()
                writer.close()


async def _feed(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            writer.write(data)
            await writer.drain()


async def _run(port: int, greed: Greed, endpoint: str, seconds: float) -> None:
    data = greed.data(endpoint)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(greed.connections):
                group.create_task(_keep_full(port, data))


def main(arguments: Sequence[str]) -> int:
    port, endpoint, kind, seconds = arguments
    asyncio.run(_run(int(port), KINDS[kind], endpoint, float(seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
