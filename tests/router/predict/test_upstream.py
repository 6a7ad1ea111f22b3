"""The gateway's end of a data channel: it connects again after every break, with nothing left of the last one."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from divisions import wire
from divisions.control import ReplicaAddress
from router.predict import upstream
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
            assert await asyncio.wait_for(owner.ready.get(), 20) == 16
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
