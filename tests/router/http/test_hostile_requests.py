"""What the port answers to requests that are malformed or hostile, and that it survives them."""

from __future__ import annotations

import pytest

from tests.router.gateway_world import features, minutes_score, post, world

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
        ({"customer_id": "nobody"}, (), 503),  # the online store was never filled
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
            assert (await it.raw(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"))[0].status == 404

    run(scenario())
