"""The connections of the channel server: nonsense, tokens, limits, peers that leave or do not read."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import uvloop

from divisions.clock import ManualClock
from divisions.errors import ChannelError
from divisions.wire import MAX_FRAME_BYTES, Kind, Status, encode_hello, encode_reply, encode_request
from serving.replica import channel_server
from serving.replica.channel_server import ChannelConfig, ChannelServer
from tests.serving.function_engine import FunctionEngine
from tests.serving.replica.channel_peer import COLUMNS, ONE_ROW, SECOND_US, Peer, add_up, scores

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
        assert release.wait(120)
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
