"""The channel server ends: draining, and gateways that hang up or do not."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import numpy as np
import pytest

from divisions.clock import ManualClock
from divisions.wire import Status
from tests.serving.replica.channel_peer import ONE_ROW, Peer, add_up, scores


def test_draining_answers_what_it_has_and_refuses_what_is_new(play) -> None:
    entered, release = threading.Event(), threading.Event()
    release.set()

    def block(rows: np.ndarray) -> np.ndarray:
        entered.set()
        assert release.wait(120)
        return add_up(rows)

    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        entered.clear(), release.clear()
        peer.ask(1, ONE_ROW)
        await asyncio.get_running_loop().run_in_executor(None, entered.wait, 10)
        drain = asyncio.ensure_future(server.drain(10.0))
        await asyncio.sleep(0)
        late = await peer.call(2, ONE_ROW)
        assert (late.request_id, late.status) == (2, Status.CLOSING)
        with pytest.raises(OSError):  # noqa: PT011  # refused or not found: either is right
            await Peer.connect(path)
        release.set()
        assert scores(await peer.receive()) == [3.0]
        assert await peer.receive() is None
        await drain

    play(scenario, block, in_thread=True)


def test_draining_does_not_wait_for_ever(play) -> None:
    clock = ManualClock()
    entered, release = threading.Event(), threading.Event()
    release.set()

    def block(rows: np.ndarray) -> np.ndarray:
        entered.set()
        assert release.wait(120)
        return add_up(rows)

    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        entered.clear(), release.clear()
        peer.ask(1, ONE_ROW)
        await asyncio.get_running_loop().run_in_executor(None, entered.wait, 10)
        assert server.runner.busy_s == 0.0
        clock.advance(3.0)
        assert server.runner.busy_s == 3.0
        await server.drain(0.0)
        assert await peer.receive() is None
        release.set()
        with contextlib.suppress(asyncio.TimeoutError):
            while not server.runner.is_idle:
                await asyncio.sleep(0)

    play(scenario, block, in_thread=True, clock=clock)


def test_a_replica_that_leaves_answers_as_before_until_its_gateways_have_hung_up(play) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        drain = asyncio.ensure_future(server.drain(5.0, leave_s=600.0))
        await asyncio.sleep(0)
        peer.ask(1, ONE_ROW)
        assert scores(await peer.receive()) == [3.0]
        assert not server.is_draining
        peer.writer.close()
        await asyncio.wait_for(drain, 60)
        assert server.is_draining

    play(scenario)


def test_a_gateway_that_does_not_hang_up_is_refused_after_a_while(play) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        now_s = server.now_s
        drain = asyncio.ensure_future(server.drain(5.0, leave_s=600.0))
        await asyncio.sleep(0)
        server.now_s = lambda: now_s() + 601.0
        await asyncio.wait_for(drain, 60)
        assert await peer.reader.read() == b""

    play(scenario)
