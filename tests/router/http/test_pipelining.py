"""Several requests on one connection, over real sockets: order, packets, offers to upgrade, and what replies say."""

from __future__ import annotations

import asyncio

import pytest

from tests.router.gateway_world import features, minutes_score, post, read_reply, world

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
GOOD = {"customer_id": "c", "features": features()}


def test_pipelined_requests_are_answered_in_order_whatever_answers_first(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            bodies = [post({"customer_id": f"c-{n}", "features": features()}) for n in range(20)]
            data = b"".join(each + HEALTH for each in bodies)
            replies = await it.raw(data, replies=40)
            assert [reply.json["customer_id"] for reply in replies[::2]] == [f"c-{n}" for n in range(20)]
            assert {reply.body for reply in replies[1::2]} == {b"ok\n"}

    run(scenario())


def test_a_reply_that_waited_for_the_one_before_it_follows_that_at_once(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            data = post(GOOD) + post(b"{}") * 3  # what is malformed is answered before the replica has been asked
            assert [reply.status for reply in await it.raw(data, replies=4)] == [200, 422, 422, 422]

    run(scenario())


def test_an_absolute_url_is_its_path(run):
    async def scenario():
        async with world() as it:
            (reply,) = await it.raw(HEALTH.replace(b"GET /", b"GET http://localhost/"))
            assert reply.body == b"ok\n"

    run(scenario())


def test_an_offer_to_upgrade_is_passed_over(run):
    async def scenario():
        async with world() as it:
            offer = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            assert [reply.body for reply in await it.raw(offer * 3, replies=3)] == [b"ok\n"] * 3

    run(scenario())


@pytest.mark.parametrize("before", [HEALTH * 1_000, post(b" " * 60_000)])
def test_a_packet_of_many_requests_may_end_within_a_head(run, before):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            for data in (before + HEALTH[:10], HEALTH[10:]):
                writer.write(data)
                await writer.drain()
            statuses = {(await read_reply(reader)).status for _ in range(before.count(b"Host:"))}
            assert statuses <= {200, 400}
            assert (await read_reply(reader)).body == b"ok\n"
            writer.close()

    run(scenario())


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_body_of_a_request_that_offers_an_upgrade_is_its_body_and_not_the_next_request(run, size):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
            hidden = post(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", *offer)
            data = post(GOOD, *offer) + hidden + post(GOOD, *offer) + HEALTH
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await writer.drain()
            replies = [await read_reply(reader) for _ in range(4)]
            assert [reply.status for reply in replies] == [200, 400, 200, 200]
            assert replies[2].json["customer_id"] == GOOD["customer_id"]
            assert replies[3].body == b"ok\n"
            writer.close()

    run(scenario())


def test_thousands_of_offers_in_one_packet_are_all_answered(run):
    async def scenario():
        async with world() as it:
            offer = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            replies = await it.raw(offer * 2_000, replies=2_000)
            assert {reply.body for reply in replies} == {b"ok\n"}

    run(scenario())


def test_a_request_that_arrives_byte_by_byte_is_whole(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            for byte in post(GOOD):
                writer.write(bytes([byte]))
                await writer.drain()
            reply = await read_reply(reader)
            assert reply is not None
            assert reply.status == 200
            writer.close()

    run(scenario())


def test_connection_close_and_http_1_0_end_the_connection(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            for data in (post(GOOD, "Connection: close"), HEALTH.replace(b"HTTP/1.1", b"HTTP/1.0")):
                (reply,) = await it.raw(data, replies=0)
                assert reply.status == 200
                assert reply.headers["connection"] == "close"

    run(scenario())


@pytest.mark.parametrize(
    ("version", "ask", "told"),
    [
        ("1.0", "keep-alive", b"connection: keep-alive"),
        ("1.0", "close", b"connection: close"),
        ("1.1", "close", b"connection: close"),
        ("1.1", "keep-alive", b""),
    ],
)
def test_a_reply_says_what_becomes_of_the_connection(run, version, ask, told):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            for data in (
                post(GOOD, f"Connection: {ask}"),
                post({"instances": [{"features": features()}]}, f"Connection: {ask}"),
                post(b"{", f"Connection: {ask}"),
                HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: %s\r\n\r\n" % ask.encode()),
                b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n" % ask.encode(),
            ):
                (reply,) = await it.raw(data.replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
                assert reply.headers.get("connection", "") == told.decode().removeprefix("connection: ")

    run(scenario())


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics"])
def test_probes_answer_whatever_the_host(run, path):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            for headers in ("HTTP/1.1\r\nHost: 10.1.2.3:8000", "HTTP/1.1\r\nHost: [fd00::7]:8000", "HTTP/1.0"):
                (reply,) = await it.raw(f"GET {path} {headers}\r\n\r\n".encode())
                assert reply.status == 200
                assert reply.headers["x-content-type-options"] == "nosniff"
            (reply,) = await it.raw(f"GET {path} HTTP/1.1\r\nHost: localhost:80@evil\r\n\r\n".encode())
            assert reply.status == 400
            (reply,) = await it.raw(b"GET / HTTP/1.1\r\nHost: 10.1.2.3:8000\r\n\r\n")
            assert reply.status == 421

    run(scenario())


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, POST, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/api/v2/predict/churn", "POST, OPTIONS"),
        ("/v2/models/churn/infer", "POST, OPTIONS"),
    ],
)
def test_options_are_answered(run, target, allow):
    async def scenario():
        async with world() as it:
            (reply,) = await it.raw(f"OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert reply.status == 204
            assert sorted(reply.headers["allow"].split(", ")) == sorted(allow.split(", "))
            assert "access-control-allow-origin" not in reply.headers

    run(scenario())


def test_options_of_the_control_api_need_the_token(run):
    async def scenario():
        async with world() as it:
            (reply,) = await it.raw(b"OPTIONS /api/v2/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reply.status == 401

    run(scenario())
