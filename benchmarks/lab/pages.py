"""A process that looks at a gateway as open pages and Prometheus do.

    python -m benchmarks.lab.pages HOST:PORT TOKEN_FILE PAGES SCRAPE_S

Each page keeps a stream of events open, from which it takes the status and the sections of the house. Prometheus reads
``/metrics`` again and again. The process prints ``ready`` when every page has its first house; when its standard input
ends, it prints what it has seen as JSON (`Seen`).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

READY_S = 30.0
_CHUNK = 1 << 16


class Seen(msgspec.Struct):
    """Events of all pages with their bytes, and scrapes."""

    houses: int = 0
    statuses: int = 0
    bytes: int = 0
    scrapes: int = 0
    scraped_bytes: int = 0


class Watching:
    """See the module."""

    def __init__(self, address: str, token: str, scrape_s: float) -> None:
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self._token = token
        self._scrape_s = scrape_s
        self.seen = Seen()

    async def page(self, is_shown: asyncio.Event) -> None:
        """One page, for ever. Raises: ConnectionError: the gateway refused or ended the stream."""
        reader, writer = await self._ask("/api/v2/events", "Connection: keep-alive")
        try:
            while data := await reader.read(_CHUNK):
                self.seen.bytes += len(data)
                self.seen.houses += data.count(b"event: house")
                self.seen.statuses += data.count(b"event: status")
                if b"event: house" in data:
                    is_shown.set()
            raise ConnectionError("the gateway ended a stream of events")
        finally:
            writer.close()

    async def prometheus(self) -> None:
        while True:
            reader, writer = await self._ask("/metrics", "Connection: close")
            self.seen.scraped_bytes += len(await reader.read(-1))
            self.seen.scrapes += 1
            writer.close()
            await asyncio.sleep(self._scrape_s)

    async def _ask(self, path: str, connection: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            f"Authorization: Bearer {self._token}",
            connection,
        )
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = await reader.readline()
        if b" 200 " not in status:
            writer.close()
            raise ConnectionError(f"{path}: the gateway answered {status.decode(errors='replace').strip()!r}")
        return reader, writer


async def watch(address: str, token: str, pages: int, scrape_s: float) -> Seen:
    """Watches until standard input ends."""
    it = Watching(address, token, scrape_s)
    shown = [asyncio.Event() for _ in range(pages)]
    tasks = [asyncio.create_task(it.page(each)) for each in shown]
    ended = asyncio.create_task(_ended())
    ready = asyncio.create_task(_all_set(shown))
    await asyncio.wait((ready, *tasks), return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        await ready
        it.seen = Seen()
        tasks.append(asyncio.create_task(it.prometheus()))
        print("ready", flush=True)
        await asyncio.wait((ended, *tasks), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            await task  # raises what went wrong
        task.cancel()
    return it.seen


async def _ended() -> None:
    """Waits for the end of standard input. No thread does: it would keep a process that failed alive."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def _all_set(events: list[asyncio.Event]) -> None:
    async with asyncio.timeout(READY_S):
        for each in events:
            await each.wait()


def main() -> int:
    address, token_file, pages, scrape_s = sys.argv[1:]
    found = asyncio.run(watch(address, Path(token_file).read_text().strip(), int(pages), float(scrape_s)))
    print(msgspec.json.encode(found).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
