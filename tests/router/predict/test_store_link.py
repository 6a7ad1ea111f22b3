"""A gateway with a real Redis: frozen, killed, restarted, emptied, refusing. Only requests that need it notice."""

from __future__ import annotations

import asyncio
import logging
import socket

import numpy as np
import pytest
import redis

from benchmarks.harness.certificates import new_pair
from divisions.control import OnlinePolicy
from divisions.online_store import OnlineRow
from divisions.online_stores import RedisStore
from divisions.store_url import parse_store_url
from tests.router.gateway_world import features, minutes_score, world
from tests.servers import PASSWORD, RedisServer

METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
WITH_FEATURES = {"customer_id": "c-1", "features": features(minutes=500.0)}


@pytest.fixture
def server(redis_server):
    redis_server.flush()
    return redis_server


def fill(url, home, **minutes):
    store = RedisStore(parse_store_url(url), home)
    stored = {"plan": "gold", "abroad": None}
    writer = store.writer("churn")
    writer.upsert(
        [OnlineRow(name.replace("_", "-"), 1.0, stored | {"minutes": each}) for name, each in minutes.items()]
    )
    writer.close()


async def in_thread(function, *arguments, **named):
    return await asyncio.to_thread(lambda: function(*arguments, **named))


async def until(check):
    for _ in range(6_000):
        if await check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not become so")


async def shows(it, name, least, most=1e9):
    """Waits for a metric's value: scrapes of the same second share one document."""

    async def check():
        (reply,) = await it.raw(METRICS)
        lines = [line for line in reply.body.decode().splitlines() if line.startswith(name)]
        return bool(lines) and least <= sum(float(line.rpartition(" ")[2]) for line in lines) <= most

    await until(check)


async def is_reachable(it):
    (ready,) = await it.raw(READY)
    assert ready.status == 200, "requests with features need no store"
    if ready.body == b"ready\n":
        return True
    assert ready.body == b"ready; the online store is not reachable\n"
    return False


async def answers(it, customer="c-1"):
    return (await it.predict({"customer_id": customer})).status == 200


async def fails(it):
    return (await it.predict({"customer_id": "c-1"})).status == 503


async def assert_others_are_answered(it):
    reply = await it.predict(WITH_FEATURES)
    assert (reply.status, reply.json["churn_probability"]) == (200, pytest.approx(0.5))


def test_customers_of_a_shared_store_are_answered(run, server):
    async def scenario():
        async with world(online_store=server.url) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            empty = await it.predict({"customer_id": "c-1"})
            assert (empty.status, empty.json["code"]) == (503, "OnlineStoreError")
            assert "no customers of this endpoint" in empty.json["detail"]
            await in_thread(fill, server.url, it.folder, c_1=70, c_2=30)
            reply = await it.predict({"customer_id": "c-1"})
            assert reply.json["churn_probability"] == pytest.approx(0.07)
            assert reply.json["features_as_of"] == "1970-01-01T00:00:01Z"
            batch = await it.predict({"instances": [{"customer_id": f"c-{1 + each % 2}"} for each in range(300)]})
            scores = [row["churn_probability"] for row in batch.json["predictions"]]
            assert scores == pytest.approx([0.07, 0.03] * 150)
            many = await asyncio.gather(*[it.predict({"customer_id": f"c-{1 + each % 2}"}) for each in range(50)])
            assert [each.json["churn_probability"] for each in many] == pytest.approx([0.07, 0.03] * 25)
            unknown = await it.predict({"customer_id": "nobody"})
            assert (unknown.status, unknown.json["code"]) == (404, "UnknownEntityError")
            await in_thread(fill, server.url, it.folder, c_1=90)
            assert (await it.predict({"customer_id": "c-1"})).json["churn_probability"] == pytest.approx(0.09)
            store = RedisStore(parse_store_url(server.url), it.folder)
            await in_thread(store.writer("churn").delete, "c-1", 5.0)
            assert (await it.predict({"customer_id": "c-1"})).status == 404, "at once: there is no cache"
            assert await is_reachable(it)

    run(scenario())


def test_a_frozen_server_costs_only_requests_that_need_it(run, server):
    async def scenario():
        async with world(online_store=server.url, request_timeout_ms=2_000) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await in_thread(fill, server.url, it.folder, c_1=70)
            await until(lambda: answers(it))
            server.freeze()
            try:
                waiting = [asyncio.create_task(it.predict({"customer_id": "c-1"})) for _ in range(20)]
                for _ in range(20):
                    await assert_others_are_answered(it)
                for reply in await asyncio.gather(*waiting):
                    assert (reply.status, reply.json["code"]) == (503, "StoreUnavailableError")
                    assert PASSWORD not in reply.body.decode()
                    assert str(server.port) not in reply.body.decode()

                async def is_known_away():
                    reply = await it.predict({"customer_id": "c-1"})
                    assert reply.status == 503
                    return "is not reachable" in reply.json["detail"]

                await until(is_known_away)
                assert not await is_reachable(it)
                await shows(it, "divisions_online_store_reachable", 0, 0)
                await shows(it, 'divisions_online_store_failures_total{gateway="0",reason="timeout"}', 20)
                await shows(it, 'divisions_stored_features_total{answer="refused"', 20)
                await assert_others_are_answered(it)
            finally:
                server.thaw()
            await until(lambda: answers(it))
            assert await is_reachable(it)
            await shows(it, "divisions_online_store_reachable", 1)
            await shows(it, "divisions_online_store_waiting", 0, 0)

    run(scenario())


def test_the_policy_may_answer_without_the_store(run, server):
    async def scenario():
        async with world(online_store=server.url, request_timeout_ms=2_000) as it:
            policy = OnlinePolicy(on_unavailable="default")
            await it.route([await it.replica("3.1", lambda rows: np.full(len(rows), 0.25, np.float32))], online=policy)
            await in_thread(fill, server.url, it.folder, c_1=70)
            await until(lambda: answers(it))
            server.freeze()
            try:
                body = {"instances": [{"customer_id": "c-1"}, {"customer_id": "c-2"}]}
                waited = await it.predict(body)
                assert waited.status == 200
                for row in waited.json["predictions"]:
                    assert (row["features_status"], row["features_as_of"]) == ("default", None)
                name = 'divisions_stored_features_total{answer="default",endpoint="churn",features="unavailable"'
                await shows(it, name, 2, 2)
            finally:
                server.thaw()

    run(scenario())


def test_a_server_that_was_killed_is_found_again_and_one_that_lost_its_data_is_told(run, server, caplog):
    async def scenario():
        async with world(online_store=server.url) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await in_thread(fill, server.url, it.folder, c_1=70)
            await until(lambda: answers(it))
            server.kill()
            await until(lambda: fails(it))
            await assert_others_are_answered(it)
            assert not await is_reachable(it)
            server.start()  # in this thread: the server ends with the thread that started it
            await until(lambda: answers(it))
            assert await is_reachable(it)
            server.flush()
            reply = await it.predict({"customer_id": "c-1"})
            assert (reply.status, reply.json["code"]) == (503, "OnlineStoreError")

    caplog.set_level(logging.WARNING)
    run(scenario())
    told = [message for message in caplog.messages if "the online store" in message]
    assert any("check that Redis or Valkey runs" in message for message in told)
    assert any("answers again" in message for message in told)
    assert PASSWORD not in caplog.text


def test_a_connection_that_is_cut_is_made_again_without_a_failed_request(run, server):
    async def scenario():
        async with world(online_store=server.url) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await in_thread(fill, server.url, it.folder, c_1=70)
            await until(lambda: answers(it))
            with redis.Redis(server.host, server.port, password=PASSWORD) as client:
                for _ in range(3):
                    pending = [asyncio.create_task(it.predict({"customer_id": "c-1"})) for _ in range(30)]
                    await asyncio.sleep(0)
                    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    assert {reply.status for reply in await asyncio.gather(*pending)} == {200}

    run(scenario())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url: url.replace(PASSWORD, "s3cret"), "WRONGPASS"),
        (lambda url: url.replace(f":{PASSWORD}@", ""), "NOAUTH"),
        (lambda url: url.replace("/0", "/99999"), "out of range"),
        (lambda url: "redis://127.0.0.1:1/0", "check that Redis or Valkey runs"),
        (lambda url: url.replace("redis:", "rediss:") + "?ssl_ca_certs=/none", "ssl_ca_certs"),
    ],
)
def test_a_server_that_refuses_is_told_in_the_log_alone(run, server, caplog, change, reason):
    async def scenario():
        async with world(online_store=change(server.url)) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await until(lambda: fails(it))
            reply = await it.predict({"customer_id": "c-1"})
            assert (reply.status, reply.json["code"]) == (503, "StoreUnavailableError")
            assert reason not in reply.body.decode()
            await assert_others_are_answered(it)

    run(scenario())
    told = [message for message in caplog.messages if reason in message]
    assert len(told) == 1, "once, however often it is tried"
    assert PASSWORD not in caplog.text
    assert "s3cret" not in caplog.text


def test_a_server_of_another_protocol_is_no_store(run, caplog):
    async def scenario():
        async def greet(reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        other = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = other.sockets[0].getsockname()[1]
        async with world(online_store=f"redis://127.0.0.1:{port}") as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await until(lambda: fails(it))
            await assert_others_are_answered(it)
        other.close()

    run(scenario())
    assert "does not speak Redis' protocol" in caplog.text


def test_a_replica_serves_and_its_values_are_checked(run, server):
    async def scenario():
        async with world(online_store=server.url) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await in_thread(fill, server.url, it.folder, c_1=70)
            with redis.Redis(server.host, server.port, password=PASSWORD) as client:
                client.execute_command("REPLICAOF", "127.0.0.1", "1")
                try:
                    await until(lambda: answers(it))
                finally:
                    client.execute_command("REPLICAOF", "NO", "ONE")
                (key,) = client.scan_iter("*rows*")
                client.hset(key, "c-2", b"x" * 20)
                reply = await it.predict({"customer_id": "c-2"})
                assert (reply.status, reply.json["code"]) == (422, "StoredFeaturesError")
                client.hset(key, "c-2", b"x")
                both = [it.predict({"customer_id": each}) for each in ("c-1", "c-2")]
                assert [reply.status for reply in await asyncio.gather(*both)] == [200, 422], "c-2 alone is damaged"
                client.delete(key)
                client.set(key, "a text")
                reply = await it.predict({"customer_id": "c-1"})
                assert (reply.status, reply.json["code"]) == (503, "StoreUnavailableError")
                await assert_others_are_answered(it)

    run(scenario())


def test_a_fill_is_seen_whole_by_a_gateway_that_asks_all_the_time(run, server):
    async def scenario():
        async with world(online_store=server.url) as it:
            await it.route([await it.replica("3.1", minutes_score, max_batch=64)])
            names = [f"c_{each}" for each in range(60)]
            others = {f"d_{each}": 1 for each in range(2_000)}
            await in_thread(fill, server.url, it.folder, **others, **dict.fromkeys(names, 0))
            body = {"instances": [{"customer_id": name.replace("_", "-")} for name in names]}
            seen = set()
            for value in range(1, 5):
                filling = asyncio.create_task(
                    in_thread(
                        fill, server.url, it.folder, **(others if value % 2 else {}), **dict.fromkeys(names, value)
                    )
                )
                while not filling.done():
                    rows = (await it.predict(body)).json["predictions"]
                    found = {round(row["churn_probability"] * 1000) for row in rows}
                    assert len(found) == 1
                    seen |= found
                await filling
            assert seen <= {0, 1, 2, 3, 4}

    run(scenario())


class TlsRedis(RedisServer):
    """Redis that speaks TLS, on a further port, and asks for the client's certificate."""

    def command(self):
        if not self.tls_port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.tls_port = probe.getsockname()[1]
        files = [f"--tls-{name}" for name in ("cert-file", "key-file", "ca-cert-file")]
        pems = [str(self.folder / name) for name in ("server.pem", "server.key", "ca.pem")]
        pairs = [each for pair in zip(files, pems, strict=True) for each in pair]
        return [*RedisServer.command(self), "--tls-port", str(self.tls_port), *pairs]

    tls_port = 0

    def tls_url(self, ca="ca", client="client", host="localhost"):
        files = {"ssl_ca_certs": f"{ca}.pem"} if ca else {}
        if client:
            files |= {"ssl_certfile": f"{client}.pem", "ssl_keyfile": f"{client}.key"}
        query = "&".join(f"{name}={self.folder / file}" for name, file in files.items())
        return f"rediss://:{PASSWORD}@{host}:{self.tls_port}/0?{query}"


def certificate(folder, name, issuer=None):
    """Writes a certificate and its key; without an issuer it is an authority of its own."""
    pair = new_pair(name, ("localhost",), is_authority=issuer is None, authority=issuer)
    (folder / f"{name}.pem").write_bytes(pair.certificate_pem)
    (folder / f"{name}.key").write_bytes(pair.key_pem())
    return pair


@pytest.fixture(scope="module")
def tls_server(redis_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority = certificate(folder, "ca")
    certificate(folder, "other-ca")
    for name in ("server", "client"):
        certificate(folder, name, authority)
    with TlsRedis(folder) as server:
        yield server


def test_tls_is_spoken_by_gateways_and_writers(run, tls_server):
    async def scenario():
        url = tls_server.tls_url()
        async with world(online_store=url) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await in_thread(fill, url, it.folder, c_1=70)
            await until(lambda: answers(it))
            batch = await it.predict({"instances": [{"customer_id": "c-1"}] * 300})
            assert batch.status == 200

    run(scenario())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ca": "other-ca"}, "CERTIFICATE_VERIFY_FAILED"),
        ({"ca": ""}, "CERTIFICATE_VERIFY_FAILED"),
        ({"host": "127.0.0.1"}, "CERTIFICATE_VERIFY_FAILED"),
        ({"client": ""}, "cannot be read"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(run, tls_server, caplog, changes, reason):
    async def scenario():
        async with world(online_store=tls_server.tls_url(**changes)) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await until(lambda: fails(it))
            await assert_others_are_answered(it)

    run(scenario())
    assert reason in caplog.text
    assert PASSWORD not in caplog.text
