"""The gateway's end of a data channel: it connects again after every break, with nothing left of the last one."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from divisions import wire
from divisions.control import ReplicaAddress
from router.predict import upstream
from router.predict.jobs import Job, Version
from router.predict.upstream import ChannelOwner, ReplicaChannel

pytestmark = pytest.mark.skipif(
    not upstream.__file__.endswith(".py"), reason="compiled classes have no interpreted children"
)


class Owner(ChannelOwner):
    def __init__(self) -> None:
        self.ready = asyncio.Queue()
        self.broke = 0

    def channel_ready(self, channel) -> None:
        self.ready.put_nowait(channel.max_batch)

    def channel_replied(self, channel, batch, reply) -> None: ...

    def channel_broke(self, channel, batches) -> None:
        self.broke += 1


@contextlib.asynccontextmanager
async def replica(path, greetings):
    """A replica that greets each connection in another way, and closes all but the last one."""
    hellos = []

    async def serve(reader, writer):
        hellos.append(await reader.read(100))
        greeting = greetings.pop(0)
        writer.write(greeting)
        await writer.drain()
        if not greetings:
            await asyncio.sleep(3_600)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield hellos
    finally:
        server.close()


def ack(columns=3, max_batch=8, status=wire.Status.OK):
    return wire.encode_hello_ack(status, columns, max_batch, "3.1")


@pytest.mark.parametrize(
    "before",
    [b"", ack()[:7], b"\xff" * 20, ack(columns=4), ack(status=wire.Status.CLOSING), ack(status=wire.Status.REFUSED)],
    ids=["closed at once", "half a frame", "noise", "other columns", "draining", "refused"],
)
def test_whatever_the_last_connection_was_the_next_one_begins_anew(run, tmp_path, before):
    async def scenario():
        path = str(tmp_path / "r.sock")
        owner = Owner()
        async with replica(path, [before, ack(max_batch=16)]) as hellos:
            address = ReplicaAddress("r", "m-v3.1", "here", path, "", 8)
            channel = ReplicaChannel(address, 3, b"token", "here", owner)
            assert await asyncio.wait_for(owner.ready.get(), 60) == 16
            assert hellos == [wire.encode_hello(b"token")] * 2
            assert owner.broke == 1
            assert channel.is_ready
            channel.close()

    run(scenario())


@pytest.mark.parametrize(
    ("unix_path", "tcp", "node", "is_local"),
    [
        ("/r.sock", "10.0.0.1:7000", "here", True),
        ("/r.sock", "10.0.0.1:7000", "there", False),
        ("", "10.0.0.1:7000", "here", False),
        ("/r.sock", "", "there", True),
    ],
)
def test_a_replica_of_the_same_node_is_reached_by_its_socket(run, unix_path, tcp, node, is_local):
    async def scenario():
        channel = ReplicaChannel(ReplicaAddress("r", "m", node, unix_path, tcp, 8), 3, b"", "here", Owner())
        assert channel.is_local is is_local
        channel.close()

    run(scenario())


def test_pauses_between_attempts_grow_to_a_second_and_begin_anew_after_a_connection(run, tmp_path, monkeypatch):
    async def scenario():
        path = str(tmp_path / "r.sock")
        pauses, resume = [], asyncio.Semaphore(7)

        async def sleep(seconds):
            if seconds > 0:
                pauses.append(seconds)
                await resume.acquire()

        monkeypatch.setattr(upstream.asyncio, "sleep", sleep)
        owner = Owner()
        channel = ReplicaChannel(ReplicaAddress("r", "m-v3.1", "here", path, "", 8), 3, b"", "here", owner)
        while len(pauses) < 8:
            await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=0.001)
        assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
        channel.close()

    run(scenario())


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_aborted = False

    def write(self, data):
        self.sent += data

    def abort(self):
        self.is_aborted = True


class Listens(Owner):
    def __init__(self) -> None:
        super().__init__()
        self.replies = []
        self.returned = []

    def channel_replied(self, channel, batch, reply) -> None:
        self.replies.append((batch, reply.request_id))

    def channel_broke(self, channel, batches) -> None:
        self.returned.append(list(batches))


@contextlib.asynccontextmanager
async def a_channel(tmp_path):
    owner, wire_ = Listens(), Wire()
    address = ReplicaAddress("r", "m-v3.1", "here", str(tmp_path / "none.sock"), "", 8)
    channel = ReplicaChannel(address, 1, b"token", "here", owner)
    channel.connection_made(wire_)
    yield channel, wire_, owner
    channel.close()


def a_job(rows=1):
    version = Version("m-v3.1", b"m", b"3.1")
    return Job(None, [(1.0,)] * rows, range(rows), bytes(4 * rows), version, 0.0, 2.0)


def test_batches_have_rising_numbers_and_replies_find_theirs(run, tmp_path):
    async def scenario():
        async with a_channel(tmp_path) as (channel, wire_, owner):
            assert wire_.sent == wire.encode_hello(b"token")
            channel.data_received(ack(columns=1, max_batch=16))
            assert (channel.is_ready, channel.max_batch) == (True, 16)
            wire_.sent = b""
            batches = [channel.send([a_job(rows)], 1.0) for rows in (1, 2, 3)]
            expected = [
                wire.encode_request(number, rows, 1, 1_000_000, bytes(4 * rows))
                for number, rows in ((1, 1), (2, 2), (3, 3))
            ]
            assert wire_.sent == b"".join(expected)
            for number in (2, 1, 2, 9):
                channel.data_received(wire.encode_reply(number, wire.Status.FAILED, 0, 0, 0))
            assert owner.replies == [(batches[1], 2), (batches[0], 1)]
            assert channel.in_flight == {3: batches[2]}
            channel.is_overdue = channel.is_hung = True
            channel.connection_lost(None)
            assert owner.returned == [[batches[2]]]
            assert (channel.is_ready, channel.is_overdue, channel.is_hung, channel.in_flight) == (
                False,
                False,
                False,
                {},
            )
            channel.send([a_job()], 1.0)
            assert list(channel.in_flight) == [4], "it comes back with the connection's end"

    run(scenario())


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (ack(columns=2), "takes rows of 2 columns, its version has 1"),
        (ack(columns=1, status=wire.Status.CLOSING), "the replica is draining"),
        (ack(columns=1, status=wire.Status.REFUSED), "the replica refused us; its channel token differs"),
        (ack(columns=1, status=wire.Status.FAILED), "the replica refused us"),
        (b"\xff" * 40, "over the cap"),
    ],
)
def test_a_greeting_that_does_not_fit_ends_the_connection(run, tmp_path, caplog, greeting, reason):
    async def scenario():
        async with a_channel(tmp_path) as (channel, wire_, owner):
            channel.data_received(greeting)
            assert wire_.is_aborted
            assert not channel.is_ready
            assert owner.ready.empty()
            assert reason in caplog.text

    run(scenario())


def test_closing_ends_the_connection_for_good(run, tmp_path):
    async def scenario():
        async with a_channel(tmp_path) as (channel, wire_, _):
            channel.close()
            await asyncio.wait([channel._task])
            assert (wire_.is_aborted, channel._task.cancelled()) == (True, True)

    run(scenario())
