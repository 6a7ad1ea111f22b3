"""A channel server for one test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from divisions.clock import ManualClock
from serving.replica.channel_server import ChannelConfig, ChannelServer
from tests.serving.function_engine import FunctionEngine
from tests.serving.replica.channel_peer import COLUMNS, Scenario, add_up


@pytest.fixture
def play(short_path: Path) -> Callable[..., None]:
    """Runs a scenario against a server on a Unix socket, on uvloop as in production."""

    def run(scenario: Scenario, function=add_up, *, in_thread: bool = False, clock=None, max_batch: int = 8) -> None:
        async def main() -> None:
            engine = FunctionEngine(COLUMNS, function)
            now_s = (clock or ManualClock()).monotonic_s
            server = ChannelServer(engine, ChannelConfig("3.2", max_batch, b"secret"), now_s)
            await server.start(short_path / "s")
            server.inline_rows = 0 if in_thread else server.inline_rows
            await asyncio.wait_for(scenario(server, short_path / "s"), 240)
            await server.drain(1.0)

        uvloop.run(main())

    return run
