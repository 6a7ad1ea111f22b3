"""What the port answers to requests that are malformed, hostile, slow or pipelined, and that it survives them."""

from __future__ import annotations

import asyncio

import pytest

from divisions.clock import ManualClock
from router.http.connection import HttpServer
from router.http.limits import HttpLimits
from router.http.request import Handler
from tests.router.gateway_world import features, minutes_score, post, read_reply, world

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
GOOD = {"customer_id": "c", "features": features()}

HOSTILE = {
    "both lengths": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    "foreign host": (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "a tunnel": (b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "absolute URL of another host": (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
    "target that is no path": (b"GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "long URL": (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
    "long header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"z" * 40_000, 431),
    "declared too long": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
    "absurd length": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\n", 413),
    "compressed": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", 415),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_requests_get_their_status_and_the_connection_ends(run, name):
    data, status = HOSTILE[name]

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            replies = await it.raw(data, replies=0)
            assert [reply.status for reply in replies] == [status]
            assert replies[0].headers["content-type"] == "application/problem+json"
            assert replies[0].headers["connection"] == "close"
            assert (await it.predict(GOOD)).status == 200

    run(scenario())


def test_a_chunked_body_is_capped_as_well(run):
    async def scenario():
        async with world(max_body_bytes=1000) as it:
            head = b"POST /api/v2/predict/churn HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
            replies = await it.raw(head + chunk * 4, replies=0)
            assert [reply.status for reply in replies] == [413]

    run(scenario())


def test_a_chunked_body_within_the_cap_is_taken(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            whole = post(GOOD)
            body = whole.partition(b"\r\n\r\n")[2]
            head = b"POST /api/v2/predict/churn HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            data = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            assert (await it.raw(data))[0].status == 200

    run(scenario())


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", (), 400),
        (b'{"features":{"minutes":NaN}}', (), 400),
        ({"features": {"minutes": 1.0}}, (), 422),
        ({"features": {**features(), "x": 1}}, (), 422),
        ({"features": {**features(), "minutes": "<b>"}}, (), 422),
        ({"features": features(3.5e38)}, (), 422),
        (GOOD, ("Content-Type: text/plain",), 415),
        (GOOD, ("x-request-timeout-ms: soon",), 400),
        ({"customer_id": "nobody"}, (), 404),
    ],
)
def test_bad_predict_requests_get_their_status_and_echo_nothing(run, body, headers, status):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            reply = await it.predict(body, *headers)
            assert reply.status == status
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json["status"] == status
            assert reply.json["error"] == reply.json["detail"]
            assert "<b>" not in reply.json["detail"]
            assert "x-request-id" in reply.headers
            assert (await it.predict(GOOD)).status == 200

    run(scenario())


def test_unknown_endpoints_and_wrong_methods(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            assert (await it.raw(post(GOOD, path="/api/v2/predict/other")))[0].status == 404
            assert (await it.raw(post(GOOD, path="/api/v2/predict/churn?trace=1")))[0].status == 200
            for name in ("..", "CHURN", "a%2fb", "churn/", "", "a..b", "c" * 65):
                assert (await it.raw(post(GOOD, path=f"/api/v2/predict/{name}")))[0].status == 400
            (reply,) = await it.raw(b"GET /api/v2/predict/churn HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reply.status == 405
            assert reply.headers["allow"] == "POST"
            assert (await it.raw(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"))[0].status == 401

    run(scenario())


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


CONTROL = [
    ("GET", "/api/v2/status"),
    ("GET", "/api/v2/rollouts"),
    ("POST", "/api/v2/rollouts"),
    ("GET", "/api/v2/rollouts/churn"),
    ("POST", "/api/v2/rollouts/churn/abort"),
    ("POST", "/api/v2/rollouts/churn/rollback"),
]


@pytest.mark.parametrize(("method", "path"), CONTROL)
def test_control_routes_are_closed_without_the_token(run, method, path):
    async def scenario():
        async with world() as it:
            bare = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
            assert (await it.raw((bare + "\r\n").encode()))[0].status == 401
            assert (await it.raw((bare + "Authorization: Bearer wrong\r\n\r\n").encode()))[0].status == 401
            for foreign in (
                "Sec-Fetch-Site: cross-site",
                "Origin: http://evil.example",
                "Origin: null",
                "Origin: http://[",
            ):
                headers = f"Authorization: Bearer secret\r\n{foreign}\r\n\r\n"
                assert (await it.raw((bare + headers).encode()))[0].status == 403
            own = "Authorization: Bearer secret\r\nOrigin: http://localhost\r\n\r\n"
            assert (await it.raw((bare + own).encode()))[0].status < 300
            assert (await it.raw((bare + "Authorization: Bearer secret\r\n\r\n").encode()))[0].status < 300

    run(scenario())


def test_every_route_but_the_open_ones_needs_the_token(run):
    async def scenario():
        async with world() as it:
            routes = it.gateway._asgi._app.routes
            assert len(routes) >= 8
            for route in routes:
                path = route.path.replace("{endpoint}", "churn").replace("{command}", "abort")
                (reply,) = await it.raw(f"{min(route.methods)} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                is_open = path in {"/", "/healthz", "/readyz", "/metrics", "/v2"}
                is_open = is_open or path.startswith(("/api/v2/predict/", "/page/", "/v2/"))
                assert (reply.status == 401) is not is_open

    run(scenario())


def test_a_command_carries_its_generation_and_target(run):
    async def scenario():
        async with world() as it:
            data = post(
                {"to": "3.1"}, "Authorization: Bearer secret", 'If-Match: "7"', path="/api/v2/rollouts/churn/rollback"
            )
            (reply,) = await it.raw(data)
            assert reply.json == {"endpoint": "churn", "command": "rollback", "to": "3.1", "generation": 7}

    run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/churn/abort", b"[1]", 400),
        ("/churn/abort", b'{"to":', 400),
        ("/churn/rollback", b'{"to":"3.1","to":"3.2"}', 400),
        ("/churn/rollback", b'{"too":"3.1"}', 422),
        ("", b'{"endpoint":"churn","version":{"model":"a","model":"b"}}', 400),
        ("", b'{"weight":NaN}', 400),
        ("", b'{"a":' * 5_000, 400),
        ("", b'{"a":"\xff"}', 400),
    ],
)
def test_control_bodies_say_each_thing_once(run, path, body, status):
    async def scenario():
        async with world() as it:
            data = post(body, "Authorization: Bearer secret", path="/api/v2/rollouts" + path)
            assert [reply.status for reply in await it.raw(data)] == [status]

    run(scenario())


def test_metrics_count_by_version(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            for _ in range(3):
                await it.predict(GOOD)
            await it.predict(b"{")
            it.gateway.dispatcher.take_reports(1 << 60, 1.0, 1 << 60)
            it.gateway.dispatcher.take_reports(1 << 60, 1.0, 1 << 60)
            (reply,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = reply.body.decode()
            assert 'divisions_requests_total{code="2xx",endpoint="churn",gateway="0",version="3.1"} 3.0' in text
            assert 'divisions_request_seconds_count{endpoint="churn",gateway="0",version="3.1"} 3.0' in text
            assert 'divisions_compute_seconds_count{endpoint="churn",gateway="0",version="3.1"} 3.0' in text
            assert (
                'divisions_refused_total{code="MalformedRequestError",endpoint="churn",gateway="0",status="400"} 1.0'
                in text
            )
            assert "secret" not in text

    run(scenario())


class Transport:
    """Just enough of a transport to see what a connection does to it."""

    def __init__(self) -> None:
        self.written = b""
        self.is_aborted = False
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Silent(Handler):
    """A handler that never answers."""

    def handle(self, request) -> None: ...


def connection(clock):
    server = HttpServer(Silent(), HttpLimits(), clock.monotonic_s)
    protocol, transport = server.protocol(), Transport()
    protocol.connection_made(transport)
    return server, protocol, transport


def test_slow_headers_are_ended_with_408():
    clock = ManualClock()
    server, protocol, transport = connection(clock)
    protocol.data_received(b"GET / HT")
    clock.advance(9)
    protocol.data_received(b"TP/1.1\r\nHo")
    server.sweep()
    assert transport.written == b""
    clock.advance(2)
    server.sweep()
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert transport.is_closed
    clock.advance(3)
    server.sweep()
    assert transport.is_aborted


def test_idle_connections_end_and_busy_ones_stay():
    clock = ManualClock()
    server, _, idle = connection(clock)
    busy_protocol, busy = server.protocol(), Transport()
    busy_protocol.connection_made(busy)
    busy_protocol.data_received(HEALTH)
    clock.advance(80)
    server.sweep()
    assert idle.is_closed
    assert not busy.is_closed


def test_a_caller_that_does_not_take_its_reply_is_dropped():
    clock = ManualClock()
    server, protocol, transport = connection(clock)
    protocol.pause_writing()
    clock.advance(31)
    server.sweep()
    assert transport.is_aborted


def test_too_many_connections_are_refused():
    server = HttpServer(Silent(), HttpLimits(max_connections=1), ManualClock().monotonic_s)
    first, second = Transport(), Transport()
    server.protocol().connection_made(first)
    server.protocol().connection_made(second)
    assert first.written == b""
    assert second.written.startswith(b"HTTP/1.1 503 ")
