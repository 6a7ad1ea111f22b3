"""The replica's TCP port under attack: what strangers do costs neither memory nor the traffic of those inside."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
from pathlib import Path

import numpy as np
import psutil
import pytest
import uvloop

from divisions.certificates import authority
from divisions.certificates.authority import LIFETIME_S, Authority, new_authority
from divisions.certificates.contexts import client_context
from divisions.certificates.names import Credentials, Role, host_name
from divisions.certificates.request import new_request
from divisions.clock import SystemClock
from divisions.wire import Status, encode_hello
from serving.replica import channel_server, tcp_listener
from serving.replica.channel_server import ChannelConfig, ChannelServer
from tests.serving.function_engine import FunctionEngine
from tests.serving.replica.channel_peer import ONE_ROW, Peer, add_up, scores

NOW_S = SystemClock().wall_s()
OURS = new_authority(NOW_S)
NAME = host_name(Role.REPLICA, "r1")


def credentials(role: Role, identity: str = "r1", signer: Authority = OURS, at_s: float = NOW_S) -> Credentials:
    asked = new_request(role, identity)
    issued = asked.answered(signer.issue(asked.message, at_s))
    return Credentials(issued.key, issued.certificate, OURS.certificate_pem, issued.lifetime_s)


GATEWAY = credentials(Role.GATEWAY, "g1")


@contextlib.asynccontextmanager
async def replica(own: Credentials | None = None, unix_path: Path | None = None):
    config = ChannelConfig("3.2", 8, b"secret")
    server = ChannelServer(FunctionEngine(3, add_up), config, SystemClock().monotonic_s)
    address = await server.start(unix_path, ("127.0.0.1", 0), is_encrypted=True)
    server.install(own or credentials(Role.REPLICA))
    try:
        yield server, int(address.rpartition(":")[2])
    finally:
        await server.drain(1.0)


async def connect(port: int, own: Credentials = GATEWAY, name: str = NAME) -> Peer:
    """A gateway that has greeted; raises what TLS or the connection's end raise."""
    ends = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(own), server_hostname=name)
    peer = Peer(*ends)
    peer.send(encode_hello(b"secret"))
    peer.ack = await asyncio.wait_for(peer.receive(), 60)
    return peer


async def is_served(peer: Peer) -> bool:
    return scores(await asyncio.wait_for(peer.call(1, ONE_ROW), 60)) == [3.0]


async def no_more_than(server: ChannelServer, limit: int) -> None:
    for _ in range(6_000):
        if server._tcp.num_handshakes <= limit:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{server._tcp.num_handshakes} handshakes never end")


def play(scenario) -> None:
    uvloop.run(asyncio.wait_for(scenario(), 240))


def test_a_gateway_of_the_cluster_is_served():
    async def scenario():
        async with replica() as (server, port):
            peer = await connect(port)
            assert peer.ack.status == Status.OK
            assert await is_served(peer)
            assert server.num_proved == 1

    play(scenario)


@pytest.mark.parametrize(
    "own",
    [
        credentials(Role.REPLICA, "r2"),
        credentials(Role.GATEWAY, signer=new_authority(NOW_S)),
        credentials(Role.GATEWAY, at_s=NOW_S - LIFETIME_S - 1),
    ],
    ids=["a replica", "of another cluster", "expired"],
)
def test_others_are_refused_and_the_refusal_costs_nobody(own, caplog):
    async def scenario():
        async with replica() as (server, port):
            good = await connect(port)
            with contextlib.suppress(OSError):  # the alert may come before or after our first frame
                assert (await connect(port, own)).ack is None
            await no_more_than(server, 0)
            assert len(server.connections) == 1
            assert await is_served(good)

    play(scenario)
    assert "refused 1 connections" in caplog.text
    assert "PRIVATE" not in caplog.text


def test_an_authoritys_other_certificates_do_not_make_a_gateway(monkeypatch, caplog):
    """An operator's own authority may have signed clients that are no gateways."""
    with monkeypatch.context() as patch:
        patch.setattr(authority, "host_name", lambda role, identity: "laptop.corporate")
        laptop = credentials(Role.GATEWAY)

    async def scenario():
        async with replica() as (server, port):
            with contextlib.suppress(OSError):
                assert (await connect(port, laptop)).ack is None
            while server.connections:
                await asyncio.sleep(0.01)
            assert server.num_proved == 0

    play(scenario)
    assert "not that of a gateway" in caplog.text


def test_a_new_certificate_is_used_in_mid_traffic():
    async def scenario():
        async with replica() as (server, port):
            old = await connect(port)
            server.install(credentials(Role.REPLICA))
            new = await connect(port)
            first, second = (
                peer.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"] for peer in (old, new)
            )
            assert first != second
            assert await is_served(old)
            assert await is_served(new)

    play(scenario)


def test_nobody_is_served_before_there_is_a_certificate():
    async def scenario():
        config = ChannelConfig("3.2", 8, b"secret")
        server = ChannelServer(FunctionEngine(3, add_up), config, SystemClock().monotonic_s)
        address = await server.start(None, ("127.0.0.1", 0), is_encrypted=True)
        port = int(address.rpartition(":")[2])
        with pytest.raises(ConnectionError):
            await connect(port)
        server.install(credentials(Role.REPLICA))
        assert await is_served(await connect(port))
        await server.drain(1.0)

    play(scenario)


def garbage(rng: random.Random) -> bytes:
    head = rng.choice(
        [b"\x16\x03\x01\x02\x00\x01", b"\x17\x03\x03\xff\xff", encode_hello(b"secret"), b"GET / HTTP/1.1\r\n", b""]
    )
    return head + rng.randbytes(rng.randrange(400))


def test_garbage_ends_its_own_connection_alone(monkeypatch):
    monkeypatch.setattr(tcp_listener, "PAUSE_S", 0.0)
    rng = random.Random(7)

    async def scenario():
        async with replica() as (server, port):
            good = await connect(port)
            for _ in range(300):
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(garbage(rng))
                    writer.write_eof()
                    await asyncio.wait_for(reader.read(), 60)
                    writer.close()
            assert await is_served(good)
            await no_more_than(server, 0)
            assert len(server.connections) == 1

    play(scenario)


def test_handshakes_that_never_end_make_room_for_gateways(monkeypatch):
    """Thousands of half-open connections hold no more than the limit, and a gateway gets in between them."""
    monkeypatch.setattr(tcp_listener, "MAX_HANDSHAKES", 16)
    monkeypatch.setattr(tcp_listener, "PAUSE_S", 0.0)

    async def scenario():
        async with replica() as (server, port):
            good = await connect(port)
            before = len(os.listdir("/proc/self/fd"))
            silent = []
            for number in range(600):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"\x16\x03\x01" if number % 2 else b"")
                silent.append(writer)
                assert server._tcp.num_handshakes <= 16
            assert await is_served(good)
            assert await is_served(await connect(port))
            for writer in silent:
                writer.close()
            del silent
            await no_more_than(server, 0)
            await asyncio.sleep(0.1)
            assert len(os.listdir("/proc/self/fd")) <= before + 6

    play(scenario)


def test_a_slow_handshake_is_given_up(monkeypatch):
    monkeypatch.setattr(tcp_listener, "HANDSHAKE_TIMEOUT_S", 0.05)

    async def scenario():
        async with replica() as (server, port):
            with socket.create_connection(("127.0.0.1", port)) as slow:
                slow.sendall(b"\x16\x03\x01\x02\x00")
                slow.setblocking(False)
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(slow, 1), 60)
            await no_more_than(server, 0)

    play(scenario)


def test_many_gateways_come_and_go_and_leave_no_memory(monkeypatch):
    monkeypatch.setattr(tcp_listener, "PAUSE_S", 0.0)
    process = psutil.Process()

    async def scenario():
        async with replica() as (server, port):
            grown = []
            for _ in range(4):
                peers = await asyncio.gather(*(connect(port) for _ in range(60)))
                assert server.num_proved == 60
                for peer in peers:
                    peer.writer.transport.abort()
                while server.num_proved:
                    await asyncio.sleep(0.01)
                del peers
                gc.collect()
                grown.append(process.memory_info().rss)
            assert grown[-1] - grown[1] < 24e6, f"it grew by {(grown[-1] - grown[1]) / 1e6:.0f} MB"
            assert server.num_proved == len(server.connections) == 0

    play(scenario)


def test_gateways_with_certificates_take_no_place_on_the_unix_socket(short_path, monkeypatch):
    monkeypatch.setattr(channel_server, "MAX_CONNECTIONS", 1)

    async def scenario():
        async with replica(unix_path=short_path / "r.sock") as (server, port):
            remote = [await connect(port) for _ in range(3)]
            local = await Peer.connect(short_path / "r.sock")
            assert await is_served(local)
            assert all([await is_served(peer) for peer in remote])
            assert server.num_proved == 3

    play(scenario)


def test_large_batches_come_whole_through_the_encryption():
    async def scenario():
        config = ChannelConfig("3.2", 20_000, b"secret")
        server = ChannelServer(FunctionEngine(3, add_up), config, SystemClock().monotonic_s)
        address = await server.start(None, ("127.0.0.1", 0), is_encrypted=True)
        server.install(credentials(Role.REPLICA))
        peer = await connect(int(address.rpartition(":")[2]))
        rows = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
        reply = await asyncio.wait_for(peer.call(1, rows), 60)
        np.testing.assert_allclose(np.frombuffer(reply.payload, np.float32), rows.sum(axis=1), rtol=1e-5)
        await server.drain(1.0)

    play(scenario)
