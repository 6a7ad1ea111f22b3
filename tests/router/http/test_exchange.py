"""Replies of one connection, in the order of its requests, whatever is answered first."""

from __future__ import annotations

from collections import deque

import pytest

from router.http import exchange as exchanges
from router.http.cancellation import Cancellable
from router.http.exchange import Connection, Exchange, render

pytestmark = pytest.mark.skipif(
    not exchanges.__file__.endswith(".py"), reason="compiled classes have no interpreted children"
)


class Wire(Connection):
    def __init__(self, count: int, **kinds) -> None:
        self.written: list[bytes] = []
        self.done: list[Exchange] = []
        self.held = 0
        self.drained = 0
        self.exchanges = deque(Exchange(self, keep_alive=True, **kinds) for _ in range(count))
        self.all = list(self.exchanges)

    def write(self, data):
        self.written.append(data)

    def finished(self, exchange):
        self.done.append(exchange)

    def hold(self):
        self.held += 1

    async def drain(self):
        self.drained += 1

    def peer(self):
        return "10.0.0.7"


class Work(Cancellable):
    cancelled = 0

    def cancel(self):
        self.cancelled += 1


def test_a_reply_waits_for_all_before_it_and_then_leaves_at_once():
    wire = Wire(3)
    first, second, third = wire.all
    third.reply(b"3")
    second.reply(b"2")
    assert wire.written == []
    first.reply(b"1")
    assert b"".join(wire.written) == b"123"
    assert wire.done == [first, second, third]
    assert not wire.exchanges
    assert not any(each.is_connected for each in wire.all)


def test_parts_of_the_first_unfinished_reply_leave_at_once():
    wire = Wire(2)
    first, second = wire.all
    second.write(b"2a")
    assert (first.is_next, second.is_next) == (True, False)
    first.write(b"1a")
    first.write(b"1b")
    assert b"".join(wire.written) == b"1a1b"
    first.finish()
    assert b"".join(wire.written) == b"1a1b2a"
    assert second.is_next
    second.write(b"2b")
    second.finish()
    assert b"".join(wire.written) == b"1a1b2a2b"
    assert wire.done == [first, second]


def test_a_whole_reply_behind_parts_of_the_same_comes_after_them():
    wire = Wire(2)
    first, second = wire.all
    second.write(b"2a")
    second.reply(b"2b")
    first.reply(b"1")
    assert b"".join(wire.written) == b"12a2b"


def test_who_leaves_cancels_what_is_not_finished():
    wire = Wire(3)
    works = [Work() for _ in wire.all]
    for exchange, work in zip(wire.all, works, strict=True):
        exchange.work = work
    wire.all[1].reply(b"2")
    for exchange in wire.all:
        exchange.disconnected()
        exchange.disconnected()
    assert [work.cancelled for work in works] == [1, 0, 1]
    for exchange in wire.all:
        exchange.reply(b"late")
        exchange.write(b"late")
        exchange.finish()
        exchange.hold()
    assert (wire.written, wire.done, wire.held) == ([], [], 0)


def test_an_answered_exchange_lets_go_of_its_work():
    wire = Wire(2)
    for exchange in wire.all:
        exchange.work = Work()
    for exchange in reversed(wire.all):
        exchange.reply(b"x")
    assert [exchange.work for exchange in wire.all] == [None, None]


def test_the_connection_is_held_and_drained_while_there_is_one(run):
    async def scenario():
        wire = Wire(1)
        (only,) = wire.all
        only.hold()
        await only.drain()
        assert (wire.held, wire.drained) == (1, 1)
        only.disconnected()
        await only.drain()
        assert wire.drained == 1

    run(scenario())


@pytest.mark.parametrize(
    ("keep_alive", "says", "header"),
    [
        (True, False, b""),
        (True, True, b"connection: keep-alive\r\n"),
        (False, False, b"connection: close\r\n"),
        (False, True, b"connection: close\r\n"),
    ],
)
def test_what_a_reply_says_of_its_connection(keep_alive, says, header):
    (exchange,) = Wire(1, says_keep_alive=says).all
    exchange.keep_alive = keep_alive
    assert exchange.connection_header == header


@pytest.mark.parametrize("close", [True, False])
def test_a_problem_closes_if_it_must(close):
    wire = Wire(1)
    wire.all[0].problem(404, "not here", (b"x-a", b"1"), close=close, code="Unknown")
    (data,) = wire.written
    head, _, document = data.partition(b"\r\n\r\n")
    assert head.splitlines()[:3] == [
        b"HTTP/1.1 404 Not Found",
        b"content-type: application/problem+json",
        b"x-a: 1",
    ]
    assert (b"connection: close" in head) is close
    assert b"content-length: %d" % len(document) in head
    assert b'"code":"Unknown"' in document
    assert wire.all[0].keep_alive is not close


def test_a_reply_is_its_status_headers_length_and_body():
    assert render(200, [(b"a", b"b")], b"xyz") == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\n\r\nxyz"


@pytest.mark.parametrize(
    ("kinds", "says"), [({}, False), ({"says_keep_alive": False}, False), ({"says_keep_alive": True}, True)]
)
def test_only_a_caller_of_http_1_0_hears_that_the_connection_stays(kinds, says):
    wire = Wire(1, **kinds)
    assert (b"keep-alive" in wire.all[0].connection_header.lower()) is says
