"""Callers that hold connections and do as little as they can. A process of its own: ``Slowness`` as JSON on its input.

It prints a line when all connections are there, and at its end how many the gateway has closed. What the gateway closes
is opened again at once, so the attack never ends by itself. Callers come from other loopback addresses than the
good client: limits by address must tell them apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys

import msgspec

DRIP_S = 1.0
"""Between two bytes."""
WAYS = ("slow head", "slow body", "slow read", "idle", "half a handshake")
ADDRESSES = 4
_RECEIVE_BYTES = 4_096
_PIPELINED = 100


class Slowness(msgspec.Struct, frozen=True):
    """``way`` is one of `WAYS`; ``host`` the first of the callers' own addresses."""

    way: str
    port: int
    path: str
    connections: int
    is_encrypted: bool


class Callers:
    """See the module."""

    def __init__(self, asked: Slowness) -> None:
        self._asked = asked
        self._context: ssl.SSLContext | None = None
        if asked.is_encrypted and asked.way != "half a handshake":
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self.ended = 0
        self._open = 0
        self.are_there = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._asked.connections):
                group.create_task(self._hold(f"127.0.0.{2 + number % ADDRESSES}"))

    async def _hold(self, own: str) -> None:
        is_first = True
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await self._connect(own)
                if is_first:
                    is_first = False
                    self._open += 1
                    if self._open == self._asked.connections:
                        self.are_there.set()
                try:
                    await self._be_slow(reader, writer)
                finally:
                    self.ended += 1
                    writer.transport.abort()
            await asyncio.sleep(0.05)

    async def _connect(self, own: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        plain = socket.socket()
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        plain.bind((own, 0))
        try:
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self._asked.port))
        except BaseException:
            plain.close()
            raise
        return await asyncio.open_connection(
            sock=plain, ssl=self._context, server_hostname="127.0.0.1" if self._context else None, limit=_RECEIVE_BYTES
        )

    async def _be_slow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begin = f"POST {self._asked.path} HTTP/1.1\r\nHost: localhost\r\n".encode()
        match self._asked.way:
            case "slow head":
                await _drip(reader, writer, begin + b"x-slow: " + b"a" * 10_000)
            case "slow body":
                writer.write(begin + b"content-type: application/json\r\ncontent-length: 100000\r\n\r\n")
                await _drip(reader, writer, b"{" + b" " * 100_000)
            case "slow read":
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * _PIPELINED)
                while not writer.transport.is_closing():  # It reads nothing, so it sees no end.
                    await asyncio.sleep(DRIP_S)
            case "half a handshake":
                writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the begin of a ClientHello
                await _until_closed(reader)
            case _:
                await _until_closed(reader)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
    ended = asyncio.ensure_future(_until_closed(reader))
    try:
        for byte in data:
            writer.write(bytes([byte]))
            if (await asyncio.wait([ended], timeout=DRIP_S))[0]:
                return
    finally:
        ended.cancel()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    while await reader.read(_RECEIVE_BYTES):
        pass


async def _main() -> None:
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=Slowness)
    callers = Callers(asked)
    running = asyncio.ensure_future(callers.run())
    await callers.are_there.wait()
    print("there", flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)  # until its parent closes it, or is gone
    running.cancel()
    print(callers.ended, flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
