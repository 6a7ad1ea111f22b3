"""Which heads are remembered, and how many; the token and the lines of the log at their limits."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.responses import Response

from divisions.clock import ManualClock
from router.gateway.guard import Guard
from router.gateway.token_book import TokenBook
from router.http.authentication import SECURITY_HEADERS, BearerAuthentication
from router.http.heads import MAX_HEAD_BYTES, MAX_HEADS, HeadCache
from router.http.request import Head
from router.http.request_log import FIRST_LOGGED_STATUS, LINES_PER_S, RequestLog


def packet(head_bytes: int, body: bytes = b"", name: bytes = b"x-a") -> bytes:
    begin = b"POST / HTTP/1.1\r\nHost: a\r\n" + name + b": "
    return begin + b"v" * (head_bytes - len(begin) - 4) + b"\r\n\r\n" + body


def head(name: bytes = b"x-a", version: str = "1.1") -> Head:
    return Head(b"POST", b"/", [(b"host", b"a"), (name, b"v")], version)


@pytest.mark.parametrize(("head_bytes", "is_kept"), [(MAX_HEAD_BYTES, True), (MAX_HEAD_BYTES + 1, False)])
def test_a_head_up_to_two_kib_is_remembered(head_bytes, is_kept):
    cache = HeadCache()
    data = packet(head_bytes, b"body")
    kept = head()
    cache.keep(data, kept, 4)
    assert (cache.find(data) is kept) is is_kept
    if is_kept:
        assert (kept.raw, kept.packet_bytes) == (data[:-4], len(data))
        assert cache.find(data + b"x") is None
        assert cache.find(data[:-1]) is None
        assert kept.begins(data)
        assert not kept.begins(data + b"x")


def test_the_memory_is_emptied_when_it_is_full():
    cache = HeadCache()
    packets = [packet(100 + number) for number in range(MAX_HEADS + 1)]
    for data in packets[:MAX_HEADS]:
        cache.keep(data, head(), 0)
    assert all(cache.find(data) is not None for data in packets[:MAX_HEADS])
    cache.keep(packets[-1], head(), 0)
    assert [cache.find(data) is not None for data in (packets[0], packets[-1])] == [False, True]


@pytest.mark.parametrize(
    ("name", "version", "is_kept"),
    [
        (b"x-a", "1.1", True),
        (b"x-a", "1.0", False),
        (b"authorization", "1.1", False),
        (b"cookie", "1.1", False),
        (b"traceparent", "1.1", False),
        (b"tracestate", "1.1", False),
        (b"x-request-id", "1.1", False),
        (b"if-match", "1.1", False),
        (b"transfer-encoding", "1.1", False),
        (b"expect", "1.1", False),
        (b"upgrade", "1.1", False),
    ],
)
def test_which_heads_are_remembered(name, version, is_kept):
    cache = HeadCache()
    data = packet(100, name=name)
    cache.keep(data, head(name, version), 0)
    assert (cache.find(data) is not None) is is_kept


def test_a_packet_with_something_before_its_head_is_not_remembered():
    cache = HeadCache()
    data = b"\r\n\r\n" + packet(100)
    cache.keep(data, head(), 0)
    assert cache.find(data) is None
    assert cache.find(packet(100)) is None


def lines(caplog) -> list[dict]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "divisions.requests"]


@pytest.mark.parametrize(("status", "is_logged"), [(FIRST_LOGGED_STATUS - 1, False), (FIRST_LOGGED_STATUS, True)])
def test_faults_of_the_server_are_logged_from_500_on(caplog, status, is_logged):
    assert FIRST_LOGGED_STATUS == 500
    RequestLog(ManualClock().monotonic_s).refused("churn", status, "x", b"r", b"")
    assert bool(lines(caplog)) is is_logged


def test_each_second_has_its_own_lines_and_what_was_left_out_is_told_once(caplog):
    clock = ManualClock(monotonic_s=10.0)
    log = RequestLog(clock.monotonic_s)
    for left_out in (3, 0, 2):
        for _ in range(LINES_PER_S + left_out):
            log.refused("churn", 503, "x", b"r", b"")
        clock.advance(1.0)
    found = [line.get("left_out_before", 0) for line in lines(caplog)]
    assert len(found) == 3 * LINES_PER_S
    assert [number for number in found if number] == [3]
    log.refused("churn", 503, "x", b"r", b"")
    assert lines(caplog)[-1]["left_out_before"] == 2


async def _application(scope, receive, send):
    await Response("open", headers={"x-mine": "1"})(scope, receive, send)


def asked(method: str = "GET", path: str = "/api/v2/status", **headers: str):
    """Status and headers of the reply to one request."""
    guard = Guard(TokenBook("secret", lambda: 0.0), lambda: 0.0)
    guarded = BearerAuthentication(_application, lambda path: path == "/open", guard.refusal)
    fields = {"host": "h", "authorization": "Bearer secret"} | {k.replace("_", "-"): v for k, v in headers.items()}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in fields.items() if value],
    }
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(guarded(scope, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"authorization": "bearer secret"}, 200),
        ({"authorization": "Bearer  secret "}, 200),
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer secre"}, 401),
        ({"authorization": "Basic secret"}, 401),
        ({"authorization": "secret"}, 401),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"origin": "http://h"}, 200),
        ({"origin": "https://h"}, 200),
        ({"origin": "http://evil"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_who_may_use_a_closed_path(headers, status):
    assert asked(**headers)[0] == status
    assert asked(path="/open", **headers)[0] == 200


@pytest.mark.parametrize(
    ("method", "media", "status"),
    [
        ("POST", "application/json", 200),
        ("POST", "Application/JSON; charset=utf-8", 200),
        ("POST", "", 200),
        ("POST", "text/plain", 415),
        ("GET", "text/plain", 200),
    ],
)
def test_a_command_is_json(method, media, status):
    assert asked(method, content_type=media)[0] == status


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"origin": "http://evil"}])
def test_every_reply_has_the_security_headers(headers):
    status, told = asked(**headers)
    assert {name: told[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert told["cache-control"] == "no-store"
    assert (told.get("www-authenticate") == "Bearer") is (status == 401)
