"""A replica on a host of its own: ``python replica_process.py CREDENTIALS HOST PORT TOKEN COLUMNS``.

It answers with a thousandth of the first feature, over the encrypted channel alone. It imports nothing of the tests.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from divisions.certificates.names import Credentials
from divisions.clock import SystemClock
from serving.replica.channel_server import ChannelConfig, ChannelServer


class Thousandth:
    name = "thousandth"

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def warm(self, max_batch: int) -> None: ...

    def run(self, rows: np.ndarray) -> np.ndarray:
        return (rows[:, 0] / 1000).astype(np.float32)


async def main(path: str, host: str, port: str, token: str, columns: str) -> None:
    credentials = msgspec.msgpack.decode(Path(path).read_bytes(), type=Credentials)
    config = ChannelConfig("3.1", 8, token.encode())
    server = ChannelServer(Thousandth(int(columns)), config, SystemClock().monotonic_s)
    await server.start(None, (host, int(port)), is_encrypted=True)
    server.install(credentials)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
