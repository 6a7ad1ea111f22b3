"""The batches of the channel server over real sockets, with an engine that is a function."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from divisions.clock import ManualClock
from divisions.wire import HelloAck, Status, encode_request
from tests.serving.replica.channel_peer import COLUMNS, ONE_ROW, SECOND_US, Peer, add_up, scores


def test_the_handshake_tells_columns_batch_size_and_version(play) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        assert peer.ack == HelloAck(Status.OK, COLUMNS, 8, "3.2")

    play(scenario)


@pytest.mark.parametrize("in_thread", [False, True])
def test_it_answers_batches_that_come_in_one_piece_in_order(play, in_thread: bool) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        for request_id in range(20):
            peer.ask(request_id, np.full((1 + request_id % 8, COLUMNS), request_id))
        for request_id in range(20):
            reply = await peer.receive()
            assert reply.request_id == request_id
            assert scores(reply) == [3.0 * request_id] * (1 + request_id % 8)

    play(scenario, in_thread=in_thread)


@pytest.mark.parametrize("piece", [1, 7, 60])
def test_it_joins_a_frame_that_comes_in_pieces(play, piece: int) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        rows = np.arange(24, dtype=np.float32).reshape(8, COLUMNS)
        data = encode_request(5, 8, COLUMNS, SECOND_US, rows.tobytes()) * 2
        for start in range(0, len(data), piece):
            peer.send(data[start : start + piece])
            await peer.writer.drain()
            await asyncio.sleep(0)
        for _ in range(2):
            assert scores(await peer.receive()) == rows.sum(axis=1).tolist()

    play(scenario)


def test_quick_and_slow_batches_keep_their_order_and_never_overlap(play) -> None:
    running = threading.Lock()

    def check_alone(rows: np.ndarray) -> np.ndarray:
        assert running.acquire(blocking=False), "the engine is not re-entrant"
        try:
            return add_up(rows)
        finally:
            running.release()

    async def scenario(server, path) -> None:
        server.inline_rows = 1
        peer, other = await Peer.connect(path), await Peer.connect(path)
        sizes = [1, 8, 1, 1, 4, 1, 8, 8, 1] * 5
        for request_id, size in enumerate(sizes):
            peer.ask(request_id, np.ones((size, COLUMNS)))
            other.ask(request_id, ONE_ROW)
        for request_id, size in enumerate(sizes):
            reply = await peer.receive()
            assert (reply.request_id, scores(reply)) == (request_id, [3.0] * size)
            assert scores(await other.receive()) == [3.0]

    play(scenario, check_alone)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (np.ones((1, 2)), b"3 columns here, got 2"),
        (np.ones((9, COLUMNS)), b"1 to 8 rows here, got 9"),
        (np.ones((0, COLUMNS)), b"1 to 8 rows here, got 0"),
    ],
)
def test_it_refuses_a_batch_that_does_not_fit_and_goes_on(play, rows: np.ndarray, text: bytes) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        reply = await peer.call(1, rows)
        assert reply.status == Status.REFUSED
        assert text in bytes(reply.payload)
        assert scores(await peer.call(2, ONE_ROW)) == [3.0]

    play(scenario)


def test_a_batch_that_expires_in_the_queue_is_not_run(play) -> None:
    clock = ManualClock()
    entered, release = threading.Event(), threading.Event()
    release.set()
    sizes: list[int] = []

    def block(rows: np.ndarray) -> np.ndarray:
        sizes.append(len(rows))
        entered.set()
        assert release.wait(120)
        return add_up(rows)

    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        sizes.clear(), entered.clear(), release.clear()
        frames = [
            encode_request(i, i, COLUMNS, deadline_us, np.ones((i, COLUMNS), np.float32).tobytes())
            for i, deadline_us in ((1, SECOND_US), (2, SECOND_US), (3, 3 * SECOND_US))
        ]
        peer.send(b"".join(frames))  # one piece, so that all are read at one time of the clock
        await asyncio.get_running_loop().run_in_executor(None, entered.wait, 10)
        clock.advance(2.0)
        release.set()
        first, second, third = [await peer.receive() for _ in range(3)]
        assert (first.status, first.compute_us) == (Status.OK, 2 * SECOND_US)
        assert (second.status, second.queue_us) == (Status.EXPIRED, 2 * SECOND_US)
        assert (third.status, third.queue_us) == (Status.OK, 2 * SECOND_US)
        assert sizes == [1, 3]

    play(scenario, block, in_thread=True, clock=clock)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_score_that_is_no_number_leaves_the_others_of_its_batch(play, bad: float, in_thread: bool) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        rows = np.ones((4, COLUMNS), np.float32)
        rows[2, 1] = bad
        reply = await peer.call(1, rows)
        assert reply.status == Status.PARTIAL
        found = np.frombuffer(reply.payload, np.float32)
        assert list(np.isfinite(found)) == [True, True, False, True]
        assert list(found[[0, 1, 3]]) == [3.0, 3.0, 3.0]

    play(scenario, in_thread=in_thread)


def test_a_sum_that_is_too_large_is_no_fault_of_its_scores(play) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        rows = np.zeros((2, COLUMNS), np.float32)
        rows[:, 0] = 3e38
        assert (await peer.call(1, rows)).status == Status.OK

    play(scenario, in_thread=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_batch_without_a_number_fails(play, bad: float, in_thread: bool) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        reply = await peer.call(1, np.full((4, COLUMNS), bad, np.float32))
        assert (reply.status, bytes(reply.payload)) == (
            Status.FAILED,
            b"the model answered with values that are not numbers",
        )
        assert scores(await peer.call(2, ONE_ROW)) == [3.0]

    play(scenario, in_thread=in_thread)


@pytest.mark.parametrize("in_thread", [False, True])
def test_an_engine_that_raises_fails_one_batch(play, in_thread: bool) -> None:
    def fail_on_seven(rows: np.ndarray) -> np.ndarray:
        if rows[0, 0] == 7:
            raise RuntimeError("seven\nis the second line" + "x" * 1000)
        return add_up(rows)

    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        reply = await peer.call(1, np.full((1, COLUMNS), 7.0))
        assert (reply.status, bytes(reply.payload)) == (Status.FAILED, b"RuntimeError: seven")
        assert server.runner.consecutive_failures == 1
        assert scores(await peer.call(2, ONE_ROW)) == [3.0]
        assert server.runner.consecutive_failures == 0

    play(scenario, fail_on_seven, in_thread=in_thread)


def test_an_engine_that_answers_too_few_scores_fails_the_batch(play) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        assert (await peer.call(1, np.ones((4, COLUMNS)))).status == Status.FAILED

    play(scenario, lambda rows: add_up(rows)[:1])
