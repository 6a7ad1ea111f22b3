"""A connection's deadlines to the moment, the order of its waits, and what is left when it ends."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from divisions.clock import ManualClock
from router.http.cancellation import Cancellable
from router.http.connection import LINGER_S, MAX_BYTES, MAX_PARTS, MAX_PIPELINED, MAX_VISITS
from router.http.limits import HttpLimits
from tests.router.http.wire import Answers, Keeps, connect, join

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = HttpLimits()


def post(num_bytes: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % num_bytes + b"z" * num_bytes


@pytest.mark.parametrize("late_s", [0.0, 0.001])
def test_a_request_may_take_exactly_its_time_to_arrive(late_s):
    clock = ManualClock()
    server, protocol, transport = connect(Keeps(), clock.monotonic_s)
    clock.advance(50)  # the time counts from the first byte
    protocol.data_received(GET[:9])
    clock.advance(LIMITS.request_s + late_s)
    server.sweep()
    assert transport.statuses == ([408] if late_s else [])
    assert b"the request took too long to arrive" in transport.written or not late_s


@pytest.mark.parametrize("late_s", [0.0, 0.001])
def test_a_connection_may_be_idle_exactly_so_long(late_s):
    clock = ManualClock()
    server, protocol, transport = connect(Answers(), clock.monotonic_s, idle_s=75)
    clock.advance(60)
    server.sweep()
    protocol.data_received(GET)  # idle anew from here
    clock.advance(75 + late_s)
    server.sweep()
    assert transport.is_closed is bool(late_s)
    assert not transport.is_aborted


@pytest.mark.parametrize("late_s", [0.0, 0.001])
def test_a_caller_may_take_nothing_exactly_so_long(late_s):
    clock = ManualClock()
    server, protocol, transport = connect(Keeps(), clock.monotonic_s, write_s=30)
    clock.advance(20)
    protocol.pause_writing()
    assert not transport.is_reading
    clock.advance(30 + late_s)
    server.sweep()
    assert transport.is_aborted is bool(late_s)


@pytest.mark.parametrize("late_s", [0.0, 0.001])
def test_an_ended_connection_lingers_exactly_so_long(late_s):
    clock = ManualClock()
    server, protocol, transport = connect(Answers(), clock.monotonic_s)
    clock.advance(5)
    protocol.data_received(GET[:-2] + b"Connection: close\r\n\r\n")
    assert transport.is_ended
    assert not transport.is_closed
    clock.advance(LINGER_S + late_s)
    server.sweep()
    assert transport.is_aborted is bool(late_s)


def test_a_caller_that_takes_something_again_has_its_time_anew():
    clock = ManualClock()
    server, protocol, transport = connect(Keeps(), clock.monotonic_s)

    async def scenario():
        protocol.data_received(GET[:9])
        for _ in range(5):
            protocol.pause_writing()
            clock.advance(LIMITS.write_s - 1)
            server.sweep()
            protocol.resume_writing()
        clock.advance(LIMITS.request_s)  # for a request that is not whole, too
        server.sweep()
        assert not transport.is_aborted
        assert transport.statuses == []
        clock.advance(0.1)
        server.sweep()
        assert transport.statuses == [408]

    asyncio.run(scenario())


def test_a_connection_with_a_request_in_work_has_no_deadline():
    clock = ManualClock()
    keeps = Keeps()
    server, protocol, transport = connect(keeps, clock.monotonic_s)
    protocol.data_received(GET)
    clock.advance(10_000)
    server.sweep()
    assert not transport.is_ended
    keeps.requests[0].exchange.problem(404, "not here")
    clock.advance(LIMITS.idle_s)
    server.sweep()
    assert not transport.is_closed, "it is idle since its reply"


def test_a_last_request_in_work_does_not_linger_yet():
    clock = ManualClock()
    server, protocol, transport = connect(Keeps(), clock.monotonic_s)
    protocol.data_received(GET[:-2] + b"Connection: close\r\n\r\n")
    clock.advance(10_000)
    server.sweep()
    assert not transport.is_aborted


@pytest.mark.parametrize("count", [2, 3])
def test_as_many_connections_as_the_limit_are_taken(count):
    server, *_ = connect(Keeps(), max_connections=2)
    others = [join(server) for _ in range(count - 1)]
    refused = [transport for _, transport in others if transport.statuses]
    assert len(refused) == max(0, count - 2)
    others[0][0].connection_lost(None)
    assert len(server.connections) == count - 1
    if refused:
        assert b"too many connections" in refused[0].written
        assert refused[0].is_ended


def test_a_lost_connection_leaves_nothing_and_cancels_its_requests():
    class Work(Cancellable):
        cancelled = 0

        def cancel(self):
            self.cancelled += 1

    async def scenario():
        keeps = Keeps()
        server, protocol, transport = connect(keeps)
        protocol.data_received(GET * 2)
        works = [Work(), Work()]
        for request, work in zip(keeps.requests, works, strict=True):
            request.exchange.work = work
        protocol.pause_writing()
        waiting = asyncio.ensure_future(protocol.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        protocol.connection_lost(None)
        await waiting
        assert [work.cancelled for work in works] == [1, 1]
        assert not server.connections
        assert len(protocol.exchanges) == 0
        keeps.requests[0].exchange.problem(404, "nobody hears it")
        assert transport.written == b""

    asyncio.run(scenario())


def test_waiting_for_the_caller_ends_when_it_takes_its_reply():
    async def scenario():
        _, protocol, _ = connect(Keeps())
        await protocol.drain()  # nothing waits
        protocol.pause_writing()
        both = [asyncio.ensure_future(protocol.drain()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in both)
        protocol.resume_writing()
        await asyncio.gather(*both)
        await protocol.drain()

    asyncio.run(scenario())


@pytest.mark.parametrize(("is_closing", "is_raised"), [(True, False), (False, True)])
def test_a_peer_that_has_gone_is_no_fault_but_others_are(is_closing, is_raised):
    keeps = Keeps()
    _, protocol, transport = connect(keeps)
    protocol.data_received(GET)
    transport.is_ended, transport.is_closed = True, is_closing  # a write now raises RuntimeError
    if is_raised:
        with pytest.raises(RuntimeError):
            keeps.requests[0].exchange.problem(404, "not here")
    else:
        keeps.requests[0].exchange.problem(404, "not here")


def test_a_transport_without_half_close_is_closed():
    _, protocol, transport = connect(Answers())
    transport.can_write_eof = lambda: False
    protocol.data_received(GET[:-2] + b"Connection: close\r\n\r\n")
    assert transport.is_closed
    assert not transport.is_aborted


def test_what_follows_the_last_request_is_read_and_dropped():
    """Were it not read, the caller could not notice the end, and the connection would be reset."""
    keeps = Keeps()
    _, protocol, transport = connect(keeps)
    protocol.data_received(GET[:-2] + b"Connection: close\r\n\r\n")
    transport.pause_reading()
    keeps.requests[0].exchange.problem(404, "not here")
    assert transport.is_reading
    protocol.data_received(GET)
    assert len(keeps.requests) == 1
    assert transport.statuses == [404]


def test_turns_are_as_long_as_the_documentation_says():
    text = " ".join((Path(__file__).parents[3] / "docs" / "data-plane.md").read_text().split())
    parts, kib = re.search(r"After (\d+) requests or (\d+) KiB the rest of a packet waits", text).groups()
    visits = re.search(r"one turn of the event loop has (\d+) such turns at most", text)[1]
    assert (int(parts), int(kib) * 1024, int(visits)) == (MAX_PARTS, MAX_BYTES, MAX_VISITS)


def test_a_turn_ends_after_four_requests_or_64_kib():
    async def scenario():
        for data, first in ((GET * 9, 4), (post(MAX_BYTES) + GET * 2, 1), (post(MAX_BYTES // 2) * 4, 2)):
            answers = Answers()
            _, protocol, transport = connect(answers)
            protocol.data_received(data)
            assert answers.seen == first
            assert not transport.is_reading
            while not transport.is_reading:
                await asyncio.sleep(0)
            assert answers.seen == data.count(b"Host")

    asyncio.run(scenario())


def test_sixteen_connections_have_their_turn_in_one_turn_of_the_loop():
    async def scenario():
        answers = Answers()
        server, *_ = connect(answers)
        for protocol, _ in [join(server) for _ in range(MAX_VISITS + 5)]:
            protocol.data_received(GET * (2 * MAX_PARTS))
        seen = answers.seen
        await asyncio.sleep(0)
        assert answers.seen - seen == MAX_PARTS * MAX_VISITS
        await asyncio.sleep(0)
        assert answers.seen == (MAX_VISITS + 5) * 2 * MAX_PARTS

    asyncio.run(scenario())


def test_a_connection_that_joins_those_who_wait_adds_no_turn():
    async def scenario():
        answers = Answers()
        server, *_ = connect(answers)
        for protocol, _ in [join(server) for _ in range(4 * MAX_VISITS)]:
            protocol.data_received(GET * (2 * MAX_PARTS))
        await asyncio.sleep(0)  # sixteen are through, and the others wait for the next turn
        join(server)[0].data_received(GET * (2 * MAX_PARTS))
        for _ in range(2):
            seen = answers.seen
            await asyncio.sleep(0)
            assert answers.seen - seen == MAX_PARTS * MAX_VISITS

    asyncio.run(scenario())


def test_half_of_the_waiting_requests_must_be_answered_before_more_are_taken():
    async def scenario():
        keeps = Keeps()
        _, protocol, transport = connect(keeps)
        protocol.data_received(GET * (MAX_PIPELINED + 1))
        for _ in range(MAX_PIPELINED):
            await asyncio.sleep(0)
        assert len(keeps.requests) == MAX_PIPELINED == 128
        for number in range(MAX_PIPELINED // 2 - 1):
            keeps.requests[number].exchange.problem(404, "not here")
        await asyncio.sleep(0)
        assert len(keeps.requests) == MAX_PIPELINED
        keeps.requests[MAX_PIPELINED // 2 - 1].exchange.problem(404, "not here")
        await asyncio.sleep(0)
        assert len(keeps.requests) == MAX_PIPELINED + 1
        assert transport.is_reading

    asyncio.run(scenario())


def test_a_remembered_head_is_used_for_whole_requests_alone():
    keeps = Keeps()
    server, protocol, _ = connect(keeps)
    data = post(3)
    protocol.data_received(data)
    keeps.requests[0].exchange.problem(404, "not here")
    assert server.heads.find(data) is not None
    protocol.data_received(data)
    assert keeps.requests[1].body == b"zzz"
    assert keeps.requests[1].head is keeps.requests[0].head
    protocol.data_received(data[:-1])
    assert len(keeps.requests) == 2
    protocol.data_received(data[-1:])
    assert keeps.requests[2].body == b"zzz"


def test_a_request_knows_when_its_packet_came():
    clock = ManualClock()
    keeps = Keeps()
    _, protocol, _ = connect(keeps, clock.monotonic_s)
    came = []
    for data in (post(3), post(3), post(4)):
        clock.advance(1)
        came.append(clock.monotonic_s())
        protocol.data_received(data)
    assert [request.received_s for request in keeps.requests] == came


def test_a_stopping_gateway_closes_a_connection_with_its_last_reply():
    keeps = Keeps()
    server, protocol, transport = connect(keeps)
    protocol.data_received(GET)
    server.close_idle()
    assert not transport.is_closed
    keeps.requests[0].exchange.problem(404, "not here")
    assert transport.is_closed
