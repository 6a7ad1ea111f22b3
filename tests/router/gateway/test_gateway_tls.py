"""A gateway whose port has TLS, on real sockets: callers, its own clients, its neighbours, and a change under load."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl

import msgspec
import pytest

from divisions.errors import ClusterError
from divisions.sdk.async_client import AsyncClient
from divisions.status import ControllerStatus
from router.gateway import heap, port_certificate
from router.gateway.neighbours import Neighbours
from router.gateway.slot import address, claim
from tests.port_certificates import write_pair
from tests.router.gateway_world import World, features, minutes_score, post, read_reply, world
from tests.router.waiting import until


@contextlib.asynccontextmanager
async def encrypted(folder, **changes):
    certificate, key = write_pair(folder)
    async with world(tls_cert=certificate, tls_key=key, **changes) as it:
        it.link.status_json = msgspec.json.encode(ControllerStatus(1))
        await it.route([await it.replica("3.1", minutes_score)])
        yield it


def trusting(folder) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "port.crt"))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # several of one name are told apart
    return context


def come_up(it: World) -> str:
    """Has commands of the home find this gateway, as `divisions up` does."""
    url = f"https://127.0.0.1:{it.port}"
    (it.settings.home / "cluster.json").write_bytes(msgspec.json.encode({"gateway_url": url}))
    return url


async def ask(port: int, context: ssl.SSLContext, data: bytes):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="gateway.example")
    try:
        writer.write(data)
        return await asyncio.wait_for(read_reply(reader), 60)
    finally:
        writer.close()


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def test_predictions_and_the_page_are_answered_and_browsers_are_told_to_stay(run, tmp_path):
    async def scenario():
        async with encrypted(tmp_path) as it:
            context = trusting(tmp_path)
            reply = await ask(it.port, context, post({"features": features(9.0)}))
            assert (reply.status, reply.json["churn_probability"]) == (200, pytest.approx(0.009))
            page = await ask(it.port, context, get("/", "Accept: text/html"))
            assert page.status == 200
            assert page.headers["strict-transport-security"] == "max-age=31536000"
            origin = get("/api/v2/status", "Authorization: Bearer secret", "Origin: https://localhost")
            assert (await ask(it.port, context, origin)).status == 200

    run(scenario())


def test_freed_memory_is_given_back(run, tmp_path, monkeypatch):
    trims = []
    monkeypatch.setattr(heap, "glibc_trim", lambda: lambda: trims.append(1))
    monkeypatch.setattr(heap, "TRIM_S", 0.001)

    async def scenario():
        async with encrypted(tmp_path):
            await until(lambda: len(trims) > 1)

    run(scenario())


def test_without_tls_nothing_is_said_of_it(run):
    async def scenario():
        async with world() as it:
            (page,) = await it.raw(get("/", "Accept: text/html"))
            assert "strict-transport-security" not in page.headers

    run(scenario())


def test_old_versions_of_tls_are_refused_to_openssl_itself(run, tmp_path):
    executable = shutil.which("openssl")
    assert executable, "openssl is a package of every Debian"

    async def connect(port: int, *options: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(executable, "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", "http/1.1", *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
        return output.decode()

    async def scenario():
        async with encrypted(tmp_path) as it:
            for name in ("-tls1", "-tls1_1"):
                told = await connect(it.port, name, "-cipher", "ALL:@SECLEVEL=0")
                assert "Cipher is (NONE)" in told
            for name, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
                told = await connect(it.port, name, "-CAfile", str(tmp_path / "port.crt"))
                assert version in told
                assert "Verify return code: 0 (ok)" in told
                assert "ALPN protocol: http/1.1" in told
            for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "NULL"):  # no forward secrecy, CBC, nothing
                told = await connect(it.port, "-tls1_2", "-cipher", f"{weak}:@SECLEVEL=0")
                assert "Cipher is (NONE)" in told or "no cipher match" in told

    run(scenario())


def test_the_certificate_changes_under_load_and_no_request_fails(run, tmp_path, monkeypatch):
    monkeypatch.setattr(port_certificate, "LOOK_S", 0.01)
    answered = {"kept": 0, "new": 0}

    async def scenario():
        async with encrypted(tmp_path) as it:
            before = trusting(tmp_path)
            old = it.gateway._certificate.context()
            is_over = asyncio.Event()
            # An authority would vouch for both certificates; here both are trusted, so that a failure is the port's.
            both = trusting(tmp_path)
            data = post({"features": features(9.0)})

            async def kept() -> None:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", it.port, ssl=before, server_hostname="gateway.example"
                )
                while not is_over.is_set():
                    writer.write(data)
                    assert (await asyncio.wait_for(read_reply(reader), 60)).status == 200
                    answered["kept"] += 1
                writer.close()

            async def new() -> None:
                while not is_over.is_set():
                    assert (await ask(it.port, both, data)).status == 200
                    answered["new"] += 1

            async with asyncio.TaskGroup() as group:
                group.create_task(kept())
                group.create_task(new())
                await until(lambda: min(answered.values()) > 5)
                write_pair(tmp_path, "next", ends=90)
                both.load_verify_locations(str(tmp_path / "next.crt"))
                for end in ("crt", "key"):
                    (tmp_path / f"next.{end}").replace(tmp_path / f"port.{end}")
                await until(lambda: it.gateway._certificate.context() is not old)
                start = dict(answered)
                await until(lambda: all(answered[kind] > start[kind] + 5 for kind in answered))
                is_over.set()
            fresh = trusting(tmp_path)  # trusts the new one only
            assert (await ask(it.port, fresh, data)).status == 200
            with pytest.raises(ssl.SSLCertVerificationError):
                await ask(it.port, before, data)

    run(scenario())


def test_a_client_of_the_home_knows_its_gateway_also_after_a_change(run, tmp_path, monkeypatch):
    monkeypatch.setattr(port_certificate, "LOOK_S", 0.01)

    async def scenario():
        async with encrypted(tmp_path) as it:
            monkeypatch.setenv("DIVISIONS_HOME", str(it.settings.home))
            url = come_up(it)
            async with AsyncClient(url, token="secret", timeout_s=60) as client:
                assert (await client.status()).rollouts == ()
                old = it.gateway._certificate.context()
                write_pair(tmp_path)
                await until(lambda: it.gateway._certificate.context() is not old)
                await client._http._transport.aclose()  # none of its connections is kept
                assert (await client.status()).rollouts == ()

    run(scenario())


def test_a_client_from_outside_needs_the_authority_and_is_told_so(run, tmp_path, monkeypatch):
    async def scenario():
        async with encrypted(tmp_path) as it:
            monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "elsewhere"))
            url = f"https://127.0.0.1:{it.port}"
            async with AsyncClient(url, token="secret", timeout_s=60) as client:
                with pytest.raises(ClusterError, match="is not trusted: self-signed certificate") as caught:
                    await client.status()
                assert "--ca" in str(caught.value)
            async with AsyncClient(url, token="secret", timeout_s=60, ca=tmp_path / "port.crt") as client:
                assert (await client.status()).rollouts == ()
            monkeypatch.setenv("DIVISIONS_TLS_CA", str(tmp_path / "port.crt"))
            async with AsyncClient(url, token="secret", timeout_s=60) as client:
                assert (await client.status()).rollouts == ()
            async with AsyncClient(url.replace("https", "http"), token="secret", timeout_s=60) as client:
                with pytest.raises(ClusterError, match="write https://"):
                    await client.status()
        async with world() as it, AsyncClient(f"https://127.0.0.1:{it.port}", token="secret", timeout_s=60) as client:
            with pytest.raises(ClusterError, match="has no TLS"):
                await client.status()

    run(scenario())


def test_a_scrape_of_one_gateway_has_its_neighbours_numbers_by_tls(run, tmp_path):
    async def scenario():
        async with encrypted(tmp_path) as it:
            slot = claim(it.settings.home)
            slot.advertise(address("127.0.0.1", await it.gateway.listen_alone()), it.settings.scheme)
            (group,) = msgspec.json.decode((it.settings.home / "metrics" / "gateway-0.json").read_bytes())
            assert group["labels"] == {"__scheme__": "https"}
            found = await Neighbours(it.settings.home, 1, 60.0, is_encrypted=True).read()
            assert b"divisions_connections" in found[0]
            slot.release()

    run(scenario())


def test_a_gateway_that_stops_ends_its_handshakes_too(run, tmp_path):
    async def scenario():
        async with encrypted(tmp_path) as it:
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            await until(lambda: it.gateway._servers[0].num_handshakes == 1)
            await it.gateway.stop(0.1)
            assert await asyncio.wait_for(reader.read(), 60) == b""
            writer.close()

    run(scenario())
