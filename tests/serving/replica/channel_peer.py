"""A gateway's end of the channel, for tests of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from divisions.wire import Frame, FrameReader, Reply, Status, encode_hello, encode_request
from serving.replica.channel_server import ChannelServer

COLUMNS = 3
SECOND_US = 1_000_000


def add_up(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=1)


class Peer:
    """A gateway, as far as the server can tell."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames: list[Frame] = []
        self._cutter = FrameReader()

    @classmethod
    async def connect(cls, path: Path | str, token: bytes | None = b"") -> Peer:
        if isinstance(path, Path):
            peer = cls(*await asyncio.open_unix_connection(str(path)))
        else:
            host, port = path.split(":")
            peer = cls(*await asyncio.open_connection(host, int(port)))
        if token is not None:
            peer.send(encode_hello(token))
            peer.ack = await peer.receive()
        return peer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def ask(self, request_id: int, rows: np.ndarray, deadline_us: int = SECOND_US) -> None:
        rows = np.asarray(rows, np.float32)
        self.send(encode_request(request_id, len(rows), rows.shape[1], deadline_us, rows.tobytes()))

    async def receive(self) -> Frame | None:
        """The next frame, or None when the server has closed the connection."""
        while not self._frames:
            try:
                data = await self.reader.read(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames += self._cutter.feed(data)
        return self._frames.pop(0)

    async def call(self, request_id: int, rows: np.ndarray, deadline_us: int = SECOND_US) -> Reply:
        self.ask(request_id, rows, deadline_us)
        reply = await self.receive()
        assert isinstance(reply, Reply)
        return reply


def scores(reply: Frame | None) -> list[float]:
    assert isinstance(reply, Reply)
    assert reply.status == Status.OK, bytes(reply.payload)
    return np.frombuffer(reply.payload, np.float32).tolist()


Scenario = Callable[[ChannelServer, Path], Awaitable[None]]


ONE_ROW = np.ones((1, COLUMNS), np.float32)
