"""What an application's messages become on the wire, and what it is told of the request."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from router.http.asgi import MAX_RUNNING, PAUSE_S, AsgiHandler
from tests.router.http.wire import connect


def body(data: bytes, more: bool = False) -> dict:
    return {"type": "http.response.body", "body": data, "more_body": more}


def answered(messages, request: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", status: int = 200, headers=()):
    """The bytes of a reply, and whether the connection ended with it."""
    head = {"type": "http.response.start", "status": status, "headers": list(headers)}

    async def app(scope, receive, send):
        await send(head)
        for message in messages:
            await send(message)

    return run_app(app, request)


def run_app(app, request: bytes):
    async def scenario():
        _, connection, transport = connect(AsgiHandler(app))
        connection.data_received(request)
        for _ in range(20):
            await asyncio.sleep(0)
        return transport.written, transport.is_ended

    return asyncio.run(scenario())


def test_a_whole_body_has_its_length():
    written, is_ended = answered([body(b"hello")], headers=[(b"x-a", b"1")])
    assert written == b"HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello"
    assert not is_ended


def test_a_length_that_the_application_gave_stays_the_only_one():
    written, _ = answered([body(b"hello")], headers=[(b"content-length", b"5")])
    assert written.count(b"content-length") == 1


def test_a_body_in_parts_is_chunked():
    written, is_ended = answered([body(b"hello", True), body(b"", True), body(b"x" * 17)])
    head, _, coded = written.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"
    assert coded == b"5\r\nhello\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"
    assert not is_ended


def test_in_http_1_0_the_end_of_the_connection_is_that_of_a_body_in_parts():
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    written, is_ended = answered([body(b"hello", True), body(b"x")], request)
    assert written == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhellox"
    assert is_ended
    written, is_ended = answered([body(b"hello")], request)
    assert written.endswith(b"connection: keep-alive\r\n\r\nhello")
    assert not is_ended


@pytest.mark.parametrize("messages", [[body(b"hello")], [body(b"hello", True), body(b"x")]])
def test_a_reply_to_head_has_no_body(messages):
    written, is_ended = answered(messages, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert written.endswith(b"\r\n\r\n")
    assert b"hello" not in written
    assert not is_ended
    assert (b"content-length: 5" in written) is (len(messages) == 1)
    assert (b"transfer-encoding: chunked" in written) is (len(messages) == 2)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_no_length(status):
    written, _ = answered([body(b"")], status=status)
    assert written.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-length" not in written
    assert b"content-length: 0" in answered([body(b"")], status=201)[0]


def test_an_application_that_gives_no_reply_is_a_500_that_says_so():
    async def silent(scope, receive, send):
        pass

    written, _ = run_app(silent, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert written.startswith(b"HTTP/1.1 500 ")
    assert b"the application gave no reply" in written


def test_half_a_reply_ends_with_the_connection():
    async def fails(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(body(b"half", True))
        raise ValueError("a fault")

    written, is_ended = run_app(fails, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert written.count(b"HTTP/1.1") == 1
    assert not written.endswith(b"0\r\n\r\n"), "that would be the end of a whole reply"
    assert is_ended


def test_an_application_is_told_of_the_request():
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        seen["first"] = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(body(b""))

    run_app(app, b"POST /a%20b?c=%20d HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy")
    assert seen["first"] == {"type": "http.request", "body": b"xy", "more_body": False}
    expected = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20d",
        "root_path": "",
        "headers": [(b"host", b"h"), (b"content-length", b"2")],
    }
    assert {key: seen[key] for key in expected} == expected


def test_an_application_hears_that_its_caller_has_left():
    async def scenario():
        heard = []

        async def app(scope, receive, send):
            await receive()
            heard.append(await receive())

        _, connection, _ = connect(AsgiHandler(app))
        connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0)
        assert heard == []
        connection.connection_lost(None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert heard == [{"type": "http.disconnect"}]

    asyncio.run(scenario())


def test_as_many_run_at_a_time_as_the_documentation_says():
    text = (Path(__file__).parents[3] / "docs" / "data-plane.md").read_text()
    assert int(re.search(r"works on (\d+) at a time", text)[1]) == MAX_RUNNING
    assert int(re.search(r"with a pause of (\d+) ms between", text)[1]) == PAUSE_S * 1_000
