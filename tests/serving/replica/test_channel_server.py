"""The channel server over real sockets, with an engine that is a function."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import uvloop

from divisions.clock import ManualClock
from divisions.errors import ChannelError
from divisions.wire import (
    MAX_FRAME_BYTES,
    Frame,
    FrameReader,
    HelloAck,
    Kind,
    Reply,
    Status,
    encode_hello,
    encode_reply,
    encode_request,
)
from serving.replica import channel_server
from serving.replica.channel_server import ChannelConfig, ChannelServer
from tests.serving.function_engine import FunctionEngine

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
            await asyncio.wait_for(scenario(server, short_path / "s"), 20)
            await server.drain(1.0)

        uvloop.run(main())

    return run


ONE_ROW = np.ones((1, COLUMNS), np.float32)


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
        assert release.wait(10)
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


TOO_LONG = (MAX_FRAME_BYTES).to_bytes(4, "little") + bytes([1, Kind.REQUEST])


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\nHost: replica\r\n\r\n" + b"x" * 64,
        bytes(64),
        TOO_LONG,
        encode_reply(1, Status.OK, 1, 0, 0, bytes(4)),
        encode_request(1, 2, COLUMNS, SECOND_US, bytes(4)),
        encode_hello(b"")[:4] + b"\x09" + encode_hello(b"")[5:],
    ],
    ids=["http", "zeros", "over the cap", "a reply", "rows missing", "another wire version"],
)
@pytest.mark.parametrize("is_greeted", [False, True])
def test_invalid_frames_close_only_their_own_connection(play, nonsense: bytes, is_greeted: bool) -> None:
    async def scenario(server, path) -> None:
        good = await Peer.connect(path)
        bad = await Peer.connect(path, b"" if is_greeted else None)
        bad.send(nonsense)
        assert await bad.receive() is None
        assert scores(await good.call(1, ONE_ROW)) == [3.0]

    play(scenario)


def test_a_batch_before_the_handshake_closes_the_connection(play) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path, token=None)
        peer.ask(1, ONE_ROW)
        assert await peer.receive() is None
        assert server.runner.batches == 0

    play(scenario)


def test_before_the_handshake_a_large_frame_is_refused(play) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path, token=None)
        peer.send((1021).to_bytes(4, "little"))  # with the length itself: one more than 1,024
        assert await peer.receive() is None

    play(scenario)


def test_a_connection_without_a_handshake_is_closed(play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_server, "HANDSHAKE_TIMEOUT_S", 0.01)

    async def scenario(server, path) -> None:
        silent = await Peer.connect(path, token=None)
        assert await silent.receive() is None

    play(scenario)


def test_connections_are_capped(play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_server, "MAX_CONNECTIONS", 2)

    async def scenario(server, path) -> None:
        first, second = await Peer.connect(path), await Peer.connect(path)
        third = await Peer.connect(path)
        assert third.ack is None
        assert scores(await first.call(1, ONE_ROW)) == scores(await second.call(1, ONE_ROW)) == [3.0]

    play(scenario)


@pytest.mark.parametrize(("token", "status"), [(b"secret", Status.OK), (b"wrong", Status.REFUSED)])
def test_a_token_sent_on_a_unix_socket_must_be_right(play, token: bytes, status: Status) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path, token)
        assert peer.ack.status == status

    play(scenario)


@pytest.mark.parametrize(
    ("token", "status"),
    [(b"secret", Status.OK), (b"wrong", Status.REFUSED), (b"", Status.REFUSED), (b"secre", Status.REFUSED)],
)
def test_tcp_needs_the_token(token: bytes, status: Status) -> None:
    async def main() -> None:
        config = ChannelConfig("3.2", 8, b"secret")
        server = ChannelServer(FunctionEngine(COLUMNS, add_up), config, ManualClock().monotonic_s)
        address = await server.start(None, ("127.0.0.1", 0))
        peer = await Peer.connect(address, token)
        assert peer.ack.status == status
        if status == Status.OK:
            assert scores(await peer.call(1, ONE_ROW)) == [3.0]
        else:
            assert peer.ack.version == ""
            peer.ask(1, ONE_ROW)
            assert await peer.receive() is None
        await server.drain(1.0)

    uvloop.run(main())


def test_tcp_without_a_token_is_refused() -> None:
    server = ChannelServer(FunctionEngine(COLUMNS, add_up), ChannelConfig("3.2", 8), ManualClock().monotonic_s)
    with pytest.raises(ChannelError, match="without a channel token"):
        uvloop.run(server.start(None, ("127.0.0.1", 0)))


def test_a_disconnect_while_a_batch_runs_affects_no_other_connection(play) -> None:
    entered, release = threading.Event(), threading.Event()
    release.set()

    def block(rows: np.ndarray) -> np.ndarray:
        entered.set()
        assert release.wait(10)
        return add_up(rows)

    async def scenario(server, path) -> None:
        gone, stays = await Peer.connect(path), await Peer.connect(path)
        entered.clear(), release.clear()
        gone.ask(1, ONE_ROW)
        await asyncio.get_running_loop().run_in_executor(None, entered.wait, 10)
        gone.writer.transport.abort()
        while len(server.connections) > 1:
            await asyncio.sleep(0)
        stays.ask(2, 2 * ONE_ROW)
        release.set()
        assert scores(await stays.receive()) == [6.0]
        assert server.runner.is_idle

    play(scenario, block, in_thread=True)


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_peer_that_does_not_read_is_not_read_from(play, in_thread: bool) -> None:
    async def scenario(server, path) -> None:
        slow, good = await Peer.connect(path), await Peer.connect(path)
        count = 300
        slow.send(encode_request(1, 4_096, COLUMNS, SECOND_US, bytes(4_096 * COLUMNS * 4)) * count)
        while not any(connection._peer_is_slow for connection in server.connections):
            await asyncio.sleep(0)
        for request_id in range(20):
            assert scores(await good.call(request_id, ONE_ROW)) == [3.0]
        assert max(connection._transport.get_write_buffer_size() for connection in server.connections) < 2 << 20
        assert server.runner.batches < count
        for _ in range(count):
            assert len(scores(await slow.receive())) == 4_096

    play(scenario, in_thread=in_thread, max_batch=4_096)


def test_draining_answers_what_it_has_and_refuses_what_is_new(play) -> None:
    entered, release = threading.Event(), threading.Event()
    release.set()

    def block(rows: np.ndarray) -> np.ndarray:
        entered.set()
        assert release.wait(10)
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
        assert release.wait(10)
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
        drain = asyncio.ensure_future(server.drain(5.0, leave_s=60.0))
        await asyncio.sleep(0)
        peer.ask(1, ONE_ROW)
        assert scores(await peer.receive()) == [3.0]
        assert not server.is_draining
        peer.writer.close()
        await asyncio.wait_for(drain, 5.0)
        assert server.is_draining

    play(scenario)


def test_a_gateway_that_does_not_hang_up_is_refused_after_a_while(play) -> None:
    async def scenario(server, path) -> None:
        peer = await Peer.connect(path)
        now_s = server.now_s
        drain = asyncio.ensure_future(server.drain(5.0, leave_s=60.0))
        await asyncio.sleep(0)
        server.now_s = lambda: now_s() + 61.0
        await asyncio.wait_for(drain, 5.0)
        assert await peer.reader.read() == b""

    play(scenario)
