"""What requests and connections leave behind: nothing that only the garbage collector could free."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import httptools
import pytest
import starlette.requests

from router.http.connection import HttpConnection
from router.http.exchange import Exchange
from router.http.parser import RequestParser
from router.http.request import Request
from router.predict.jobs import Job
from router.predict.upstream import Batch
from tests.router.gateway_world import features, minutes_score, post, world

PER_REQUEST = (Exchange, Request, Job, Batch)
PER_CONNECTION = (starlette.requests.Request, HttpConnection, RequestParser, httptools.HttpRequestParser, *PER_REQUEST)
REQUESTS = 40
CONNECTIONS = 20
GOOD = {"customer_id": "c-1", "features": features()}


def alive(kinds) -> Counter[str]:
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds))


def test_answered_requests_are_freed_without_the_collector():
    async def go():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            one = post(GOOD)
            many = post({"instances": [{"customer_id": f"c-{i}", "features": features()} for i in range(3)]})
            bad = post({"customer_id": "c-1", "features": {}})
            await it.raw(one + many + bad, 3)
            gc.collect()
            before = alive(PER_REQUEST)  # of tests before this one, perhaps
            gc.disable()
            try:
                for data, status in ((one, 200), (many, 200), (bad, 422)):
                    replies = await it.raw(data * REQUESTS, REQUESTS)
                    assert [reply.status for reply in replies] == [status] * REQUESTS
                await asyncio.sleep(0)
                return alive(PER_REQUEST) - before
            finally:
                gc.enable()

    left = asyncio.run(go())
    # A handful may still be held by the frames that handle the last of them.
    assert sum(left.values()) < REQUESTS / 4, left


LARGE = b" " * 1_000_000
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
OFFER = ("Connection: Upgrade", "Upgrade: h2c")
CONTROL = ("Authorization: Bearer secret",)
CHUNKED = (
    b"POST /api/v2/predict/churn HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n%s\r\n" % (len(LARGE), LARGE)
)


@pytest.mark.parametrize(
    ("data", "replies"),
    [
        pytest.param(HEALTH, 1, id="health"),
        pytest.param(post(GOOD), 1, id="predict"),
        pytest.param(post(LARGE), 1, id="a large body that is refused"),
        pytest.param(post(GOOD, "X-Divisions-Version: 3.1"), 1, id="a version that is named without a token"),
        pytest.param(
            post(GOOD, "Cookie: a", path="/api/v2/predict/churn?explain=maybe"), 1, id="a query that is wrong"
        ),
        pytest.param(post(LARGE)[:-1], 0, id="a large body that is not whole"),
        pytest.param(CHUNKED, 0, id="chunks without an end"),
        pytest.param(CHUNKED + b"1\r\nxy", 1, id="chunks that are malformed"),
        pytest.param(CHUNKED + b"fffff\r\n" + LARGE, 1, id="chunks that are too large"),
        pytest.param(post(LARGE, *OFFER), 1, id="a large body with an offer to upgrade"),
        pytest.param(post(LARGE, *CONTROL, path="/api/v2/rollouts"), 1, id="a large body for the application"),
        pytest.param(b"GET /page/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2, 1, id="a caller that leaves early"),
    ],
)
def test_closed_connections_are_freed_without_the_collector(run, data, replies):
    async def go():
        async with world(max_body_bytes=1_048_576) as it:
            await it.route([await it.replica("3.1", minutes_score)])

            async def connect_and_leave():
                reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
                writer.write(data)
                if replies:
                    await reader.readuntil(b"\r\n\r\n")
                else:
                    await writer.drain()
                writer.close()

            async def all_gone():
                while it.gateway._http.connections or it.gateway._asgi._tasks:
                    await asyncio.sleep(0.001)

            await connect_and_leave()
            await all_gone()
            gc.collect()
            before = alive(PER_CONNECTION)
            gc.disable()
            try:
                for _ in range(CONNECTIONS):
                    await connect_and_leave()
                await all_gone()
                await asyncio.sleep(0.01)
                return alive(PER_CONNECTION) - before
            finally:
                gc.enable()

    left = run(go())
    assert sum(left.values()) <= 4, left


def test_a_kept_connection_holds_no_body_of_an_answered_request(run):
    async def scenario():
        async with world(max_body_bytes=1_048_576) as it:
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(post(LARGE))
            while not it.gateway._http.connections:
                await asyncio.sleep(0)
            (connection,) = it.gateway._http.connections
            while not connection._parser._length or connection._parser.is_receiving or connection.exchanges:
                await asyncio.sleep(0)
            held = (connection._rest, connection._parser._complete_body, connection._parser._body)
            assert held == (b"", b"", [])
            writer.close()

    run(scenario())
