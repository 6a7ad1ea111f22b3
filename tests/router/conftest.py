"""Fixtures of the router's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop


@pytest.fixture
def run() -> Callable:
    """Runs a coroutine on the kind of loop that the gateway runs on."""

    def _run(coroutine):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(asyncio.wait_for(coroutine, 60))

    return _run
