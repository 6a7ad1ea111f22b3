"""The port with TLS on real sockets: what callers get, and what callers who never finish a handshake cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl

import pytest

from divisions.certificates.port_pair import examine, read_pair
from divisions.clock import SystemClock
from router.http import tls_port
from router.http.connection import HttpServer
from router.http.limits import HttpLimits
from router.http.tls_port import TlsPort
from tests.port_certificates import write_pair
from tests.router.http.wire import Answers
from tests.router.waiting import until

REQUEST = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.asynccontextmanager
async def served(tmp_path, **limits):
    pair = examine(read_pair(*write_pair(tmp_path)))
    clock = SystemClock()
    http = HttpServer(Answers(), HttpLimits(**limits), clock.monotonic_s)
    port = TlsPort(http.protocol, lambda: pair.context, clock)
    number = await port.listen(("127.0.0.1",), 0, is_shared=True, backlog=128)
    try:
        yield port, number, http
    finally:
        port.close()
        port.abort()
        for connection in list(http.connections):
            connection._transport.abort()
        await asyncio.sleep(0)


def trusting(**versions) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in versions.items():
        setattr(context, name, value)
    return context


async def ask(number: int, context: ssl.SSLContext | None = None) -> tuple[bytes, ssl.SSLObject]:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=context or trusting())
        try:
            writer.write(REQUEST)
            return await reader.readuntil(b"\r\n\r\n"), writer.get_extra_info("ssl_object")
        finally:
            writer.close()


async def silent(number: int, own: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", number, local_addr=(own, 0))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_request_is_answered_by_tls_and_http_1_1_is_chosen(run, tmp_path, version):
    async def scenario():
        async with served(tmp_path) as (port, number, _):
            reply, peer = await ask(number, trusting(minimum_version=version, maximum_version=version))
            assert reply.startswith(b"HTTP/1.1 404")
            assert peer.version() == version.name.replace("_", ".")
            assert peer.selected_alpn_protocol() == "http/1.1"
            name, _, bits = peer.cipher()
            assert "GCM" in name or "CHACHA20" in name
            assert bits >= 128
            assert port.num_handshakes == 0

    run(scenario())


def test_what_is_no_tls_is_closed_and_the_next_caller_is_answered(run, tmp_path):
    async def scenario():
        async with served(tmp_path) as (port, number, http):
            for data in (REQUEST, os.urandom(2_000), b""):
                reader, writer = await silent(number)
                writer.write(data)
                writer.write_eof()
                assert not (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP")
                writer.close()
            await until(lambda: port.num_handshakes == 0)
            assert (await ask(number))[0].startswith(b"HTTP/1.1 404")
            assert not http.connections or len(http.connections) == 1

    run(scenario())


def test_a_handshake_that_takes_too_long_is_ended(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tls_port, "HANDSHAKE_S", 0.05)

    async def scenario():
        async with served(tmp_path) as (port, number, _):
            reader, writer = await silent(number)
            assert await asyncio.wait_for(reader.read(), 60) == b""
            writer.close()
            await until(lambda: port.num_handshakes == 0)

    run(scenario())


def test_handshakes_that_never_end_keep_nobody_out(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tls_port, "MAX_HANDSHAKES", 8)
    monkeypatch.setattr(tls_port, "GRACE_S", 0.02)
    monkeypatch.setattr(tls_port, "HANDSHAKE_S", 600.0)  # not what ends them here

    async def scenario():
        async with served(tmp_path) as (port, number, _):
            held = [await silent(number) for _ in range(40)]
            for _ in range(3):
                assert (await ask(number))[0].startswith(b"HTTP/1.1 404")
            assert port.num_handshakes <= 8
            ended = [reader.at_eof() or await has_ended(reader) for reader, _ in held]
            assert sum(ended) >= 30
            for _, writer in held:
                writer.close()

    run(scenario())


async def has_ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 0.01) == b""
    except (TimeoutError, ConnectionError):
        return False


def test_young_handshakes_of_another_address_keep_nobody_waiting(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tls_port, "MAX_HANDSHAKES", 8)
    monkeypatch.setattr(tls_port, "GRACE_S", 600.0)
    monkeypatch.setattr(tls_port, "HANDSHAKE_S", 600.0)

    async def scenario():
        async with served(tmp_path) as (port, number, _):
            held = [await silent(number, f"127.0.0.{2 + each % 2}") for each in range(40)]
            await until(lambda: (port.num_handshakes, port.num_waiting) == (8, 32))
            for _ in range(3):
                assert (await ask(number))[0].startswith(b"HTTP/1.1 404")
            assert port.num_handshakes == 8
            # Who has lost its place to one of these is closed, and nobody else.
            await until(lambda: sum(bool(reader.at_eof() or reader.exception()) for reader, _ in held) == 3)
            for _, writer in held:
                writer.close()
            await until(lambda: (port.num_handshakes, port.num_waiting) == (0, 0))

    run(scenario())


def test_a_young_handshake_of_the_own_address_is_waited_for_rather_than_ended(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tls_port, "MAX_HANDSHAKES", 1)
    monkeypatch.setattr(tls_port, "GRACE_S", 600.0)
    monkeypatch.setattr(tls_port, "HANDSHAKE_S", 600.0)

    async def scenario():
        async with served(tmp_path) as (port, number, _):
            _, writer = await silent(number)
            await until(lambda: port.num_handshakes == 1)
            asked = asyncio.ensure_future(ask(number))
            await until(lambda: port.num_waiting == 1)
            assert not asked.done()
            writer.close()
            assert (await asked)[0].startswith(b"HTTP/1.1 404")

    run(scenario())


def test_only_so_many_connections_wait_and_a_port_that_stops_drops_them(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tls_port, "MAX_HANDSHAKES", 1)
    monkeypatch.setattr(tls_port, "MAX_WAITING", 3)
    monkeypatch.setattr(tls_port, "GRACE_S", 600.0)
    monkeypatch.setattr(tls_port, "HANDSHAKE_S", 600.0)

    async def scenario():
        async with served(tmp_path) as (port, number, _):
            held = [await silent(number) for _ in range(4)]
            await until(lambda: port.num_waiting == 3)
            reader, writer = await silent(number)
            assert await asyncio.wait_for(reader.read(), 60) == b"", "it is the newest"
            assert port.num_waiting == 3
            writer.close()
            port.close()
            port.abort()
            for reader, writer in held:
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(reader.read(), 60) == b""
                writer.close()
            await until(lambda: (port.num_handshakes, port.num_waiting) == (0, 0))

    run(scenario())


def refusing(monkeypatch, faults):
    """Has listeners raise these errors, the last one first, before they take connections."""
    create = socket.create_server

    class Listener(socket.socket):
        def accept(self):
            if faults:
                raise faults.pop()
            return super().accept()

    def create_server(*arguments, **options):
        plain = create(*arguments, **options)
        return Listener(plain.family, plain.type, plain.proto, plain.detach())

    monkeypatch.setattr(tls_port.socket, "create_server", create_server)


def test_a_connection_that_cannot_be_accepted_ends_nothing(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tls_port, "PAUSE_S", 0.001)
    faults = [OSError(24, "Too many open files"), ConnectionAbortedError(103, "gone")]
    refusing(monkeypatch, faults)

    async def scenario():
        async with served(tmp_path) as (_, number, _):
            assert (await ask(number))[0].startswith(b"HTTP/1.1 404")

    run(scenario())
    assert not faults
    assert "could not be accepted: [Errno 24] Too many open files" in caplog.text


def test_a_port_without_files_left_rests_rather_than_trying_in_every_turn(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tls_port, "PAUSE_S", 600.0)
    faults = [OSError(24, "Too many open files")] * 1_000
    refusing(monkeypatch, faults)

    async def scenario():
        async with served(tmp_path) as (_, number, _):
            _, writer = await silent(number)
            await until(lambda: len(faults) < 1_000)
            for _ in range(100):  # turns of the loop, in each of which the connection waits to be accepted
                await asyncio.sleep(0)
            writer.close()

    run(scenario())
    assert (len(faults), caplog.text.count("could not be accepted")) == (999, 1)


def test_a_closed_port_is_free_at_once_and_one_in_use_is_told(run, tmp_path):
    async def scenario():
        async with served(tmp_path) as (port, number, http):
            with pytest.raises(OSError, match="in use"):
                await TlsPort(http.protocol, port._context, SystemClock()).listen(
                    ("127.0.0.1",), number, is_shared=False, backlog=8
                )
            port.close()
            await asyncio.sleep(0.01)
            socket.create_server(("127.0.0.1", number)).close()

    run(scenario())
