"""The latency of a model as a gateway sees it: over the replica's Unix socket, one row at a time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path

import numpy as np
import uvloop

from divisions.clock import SystemClock
from divisions.wire import FrameReader, HelloAck, Reply, Status, encode_hello, encode_request
from serving.engines.protocol import Engine
from serving.replica.channel_server import ChannelConfig, ChannelServer

_START_S = 60.0


def channel_latency_ms(
    engine: Engine, folder: Path, samples: int, seed: int, max_batch: int = 16
) -> tuple[float, float, float]:
    """p50, p99 and the engine's own median, in milliseconds, of requests of one row, one after the other.

    The server is `serving.replica.channel_server.ChannelServer` in a thread of its own, as in a replica. The caller
    blocks.
    """
    path = folder / "r.sock"
    server = ChannelServer(engine, ChannelConfig("1.1", max_batch), SystemClock().monotonic_s)
    loop = uvloop.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        await server.start(path)
        started.set()
        await stop.wait()
        await server.drain(1.0)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    if not started.wait(_START_S):
        raise RuntimeError(f"{engine.name} did not start within {_START_S:g} s")
    try:
        return _ask(path, engine.columns, samples, seed)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def _ask(path: Path, columns: int, samples: int, seed: int) -> tuple[float, float, float]:
    rows = np.random.default_rng(seed).normal(size=(samples + samples // 5, 1, columns)).astype(np.float32)
    reader = FrameReader()
    taken_ms, compute_ms = [], []
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(path))
        channel.sendall(encode_hello(b""))
        ack = _receive(channel, reader)
        assert isinstance(ack, HelloAck)
        for index, row in enumerate(rows):
            begin_s = time.perf_counter()
            channel.sendall(encode_request(index, 1, columns, 10_000_000, row.tobytes()))
            reply = _receive(channel, reader)
            taken_ms.append((time.perf_counter() - begin_s) * 1e3)
            if not isinstance(reply, Reply) or reply.status != Status.OK:
                raise RuntimeError(f"a request was answered with {reply}")
            compute_ms.append(reply.compute_us / 1e3)
    # The first fifth is warm-up.
    kept = np.array(taken_ms[samples // 5 :])
    own = float(np.median(compute_ms[samples // 5 :]))
    return float(np.percentile(kept, 50)), float(np.percentile(kept, 99)), own


def _receive(channel: socket.socket, reader: FrameReader) -> object:
    while data := channel.recv(1 << 16):
        for frame in reader.feed(data):
            return frame
    raise RuntimeError("the replica closed the connection")
