"""The memory of heads must never be noticed: what it finds is what the parser would have found."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.http.connection import HttpServer
from router.http.heads import MAX_HEADS, HeadCache
from router.http.limits import HttpLimits
from router.http.request import Handler, Request
from tests.router.http.wire import Transport

HEADS = (
    b"Host: a\r\nContent-Type: application/json\r\n",
    b"Host: a\r\nConnection: keep-alive\r\n",
    b"Host: a\r\nConnection: close\r\n",
    b"Host: a\r\nTransfer-Encoding: chunked\r\n",
    b"Host: a\r\nExpect: 100-continue\r\n",
    b"Host: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Host: a\r\nAuthorization: Bearer x\r\n",
    b"Host: a\r\nHost: b\r\n",
    b"Host: a\r\nContent-Length: 1\r\n",
    b"",
)
REMEMBERED = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
"""A request that conversations contain too, so that it is remembered. As a body it must stay a body."""
BODIES = (
    REMEMBERED,
    REMEMBERED,
    b"",
    b"x",
    b"{}",
    b"\r\n\r\n",
    b"\r\n\r\nPOST / HTTP/1.1\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
)


class Echo(Handler):
    """Answers at once with what it was asked."""

    def __init__(self):
        self.seen = []

    def handle(self, request: Request) -> None:
        head = request.head
        self.seen.append((head.method, head.url, list(head.headers), head.http_version, request.body))
        request.exchange.reply(b"%s %s %d\n" % (head.method, head.url, len(request.body)))
        if not request.exchange.keep_alive:
            self.seen.append("closing")


class Forgetful(HeadCache):
    def find(self, data):
        return None


@pytest.fixture(scope="module")
def serve():
    """What came of packets: requests, replies and whether the line stayed open."""

    async def go(memory, packets):
        echo = Echo()
        server = HttpServer(echo, HttpLimits(), lambda: 0.0)
        server.heads = memory
        transport = Transport()
        connection = server.protocol()
        connection.connection_made(transport)
        for packet in packets:
            if transport.is_ended:
                break
            connection.data_received(packet)
            while connection._rest:
                await asyncio.sleep(0)
        return echo.seen, transport.written, transport.is_ended

    with asyncio.Runner() as runner:
        yield lambda memory, packets: runner.run(go(memory, packets))


@st.composite
def conversations(draw):
    """Requests, most of them well-formed, cut into packets: at their ends, or anywhere."""
    data, ends = b"", []
    for _ in range(draw(st.integers(1, 6))):
        method = draw(st.sampled_from((b"POST", b"GET")))
        head, body = draw(st.sampled_from(HEADS)), draw(st.sampled_from(BODIES))
        length = len(body) + draw(st.sampled_from((0, 0, 0, 1, -1)))
        has_length = draw(st.booleans()) and b"Transfer" not in head and length >= 0
        sized = head + b"Content-Length: %d\r\n" % length if has_length else head
        version = draw(st.sampled_from((b"1.1", b"1.1", b"1.0")))
        data += b"%s /p HTTP/%s\r\n%s\r\n" % (method, version, sized)
        if draw(st.booleans()):
            ends.append(len(data))  # the body comes in a packet of its own
        data += body
        data += draw(st.sampled_from((b"", b"", b"\r\n")))
        ends.append(len(data))
    cuts = draw(st.one_of(st.just(ends), st.lists(st.integers(0, len(data)), max_size=6)))
    places = sorted({0, len(data), *cuts})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=600, deadline=None)
@given(st.lists(conversations(), min_size=1, max_size=4))
def test_whatever_comes_it_is_understood_as_without_a_memory(serve, talks):
    memory = HeadCache()
    serve(memory, [REMEMBERED])
    for packets in [*talks, *talks]:  # the second time, heads are known
        assert serve(memory, packets) == serve(Forgetful(), packets)


PLAIN = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


def test_a_head_that_comes_again_is_not_parsed_again(serve):
    memory = HeadCache()
    serve(memory, [PLAIN])
    packet = PLAIN.replace(b"{}", b"[]")
    found = memory.find(packet)
    assert (found.method, found.url, packet[len(found.raw) :]) == (b"POST", b"/p", b"[]")
    assert found.headers == [(b"host", b"a"), (b"content-length", b"2")]


@pytest.mark.parametrize(
    "packet",
    [
        PLAIN + b"G",
        PLAIN[:-1],
        PLAIN + PLAIN,
        PLAIN.replace(b"/p", b"/q"),
    ],
)
def test_only_the_very_same_bytes_are_known(serve, packet):
    memory = HeadCache()
    serve(memory, [PLAIN])
    assert memory.find(packet) is None
    assert not memory.find(PLAIN).begins(packet)


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Bearer x",
        b"Cookie: a=b",
        b"traceparent: 00-1-2-01",
        b"X-Request-Id: 7",
        b"Connection: close",
        b"Expect: 100-continue",
        b"x: " + b"y" * 4_000,
    ],
)
def test_secrets_and_heads_that_do_not_come_again_are_not_kept(serve, header):
    memory = HeadCache()
    packet = PLAIN.replace(b"Host: a", b"Host: a\r\n" + header)
    serve(memory, [packet])
    assert memory.find(packet) is None


def test_the_memory_is_bounded(serve):
    memory = HeadCache()
    for number in range(MAX_HEADS + 1):
        serve(memory, [PLAIN.replace(b"/p", b"/%d" % number)])
    assert memory.find(PLAIN.replace(b"/p", b"/0")) is None
    assert memory.find(PLAIN.replace(b"/p", b"/%d" % MAX_HEADS)) is not None


def test_the_second_half_of_a_head_is_not_remembered_as_a_head(serve):
    memory = HeadCache()
    first, second = b"GET /p HTTP/1.1\r\nHo", b"st: a\r\n\r\n"
    serve(memory, [first, second])
    assert memory.find(second) is None
