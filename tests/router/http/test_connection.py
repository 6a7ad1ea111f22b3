"""Order, deadlines and ends of a connection, without sockets."""

from __future__ import annotations

import asyncio

import pytest

from divisions.clock import ManualClock
from router.http.connection import MAX_PARTS, MAX_PIPELINED, MAX_VISITS
from tests.router.gateway_world import features, post
from tests.router.http.wire import Answers, Keeps, Raises, connect, join

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
GOOD = {"customer_id": "c", "features": features()}


def test_slow_headers_are_ended_with_408():
    clock = ManualClock()
    server, protocol, transport = connect(Keeps(), clock.monotonic_s)
    protocol.data_received(b"GET / HT")
    clock.advance(9)
    protocol.data_received(b"TP/1.1\r\nHo")
    server.sweep()
    assert transport.written == b""
    clock.advance(2)
    server.sweep()
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert transport.is_ended
    clock.advance(3)
    server.sweep()
    assert transport.is_aborted


def test_idle_connections_end_and_busy_ones_stay():
    clock = ManualClock()
    server, _, idle = connect(Keeps(), clock.monotonic_s)
    busy_protocol, busy = join(server)
    busy_protocol.data_received(HEALTH)
    clock.advance(80)
    server.sweep()
    assert idle.is_closed
    assert not busy.is_closed


def test_a_caller_that_does_not_take_its_reply_is_dropped():
    clock = ManualClock()
    server, protocol, transport = connect(Keeps(), clock.monotonic_s)
    protocol.pause_writing()
    clock.advance(31)
    server.sweep()
    assert transport.is_aborted


def test_too_many_connections_are_refused():
    server, _, first = connect(Keeps(), max_connections=1)
    _, second = join(server)
    assert first.written == b""
    assert second.statuses == [503]


def test_the_idle_timeout_is_a_limit():
    clock = ManualClock()
    server, _, idle = connect(Keeps(), clock.monotonic_s, idle_s=600)
    clock.advance(599)
    server.sweep()
    assert not idle.is_closed
    clock.advance(2)
    server.sweep()
    assert idle.is_closed


def test_a_refusal_comes_after_the_replies_that_are_due_and_only_then_lingers():
    clock = ManualClock()
    keeps = Keeps()
    server, protocol, transport = connect(keeps, clock.monotonic_s)
    protocol.data_received(HEALTH + b"\x00\r\n\r\n")
    clock.advance(9)  # the first request takes longer than a refused connection lingers
    server.sweep()
    assert not transport.is_ended
    keeps.requests[0].exchange.problem(404, "not here")
    assert transport.statuses == [404, 400]
    assert transport.is_ended
    assert not transport.is_closed
    clock.advance(3)
    server.sweep()
    assert transport.is_aborted


def test_nothing_follows_the_last_request():
    keeps = Keeps()
    _, protocol, transport = connect(keeps)
    last = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    protocol.data_received(HEALTH + last + HEALTH + b"\x00")
    protocol.data_received(HEALTH)
    assert len(keeps.requests) == 2
    for request in keeps.requests:
        request.exchange.problem(404, "not here")
    assert transport.statuses == [404, 404]
    assert transport.is_ended


def test_requests_behind_a_reply_that_closes_are_dropped():
    keeps = Keeps()
    _, protocol, transport = connect(keeps)
    protocol.data_received(HEALTH * 2)
    first, second = keeps.requests
    second.exchange.problem(404, "not here")
    first.exchange.problem(500, "a fault", close=True)
    assert transport.statuses == [500]
    assert transport.is_ended
    assert not second.exchange.is_connected


@pytest.mark.parametrize("times", [1, 2])
def test_an_exception_of_a_handler_is_one_500_and_the_end_of_the_connection(times):
    server, *_ = connect(Raises())
    for _ in range(times):  # the second time, the head is remembered
        protocol, transport = join(server)
        protocol.data_received(HEALTH)
        assert transport.statuses == [500]
        assert b"connection: close" in transport.written
        assert b"a fault of the handler" not in transport.written
        assert transport.is_ended


def test_an_exception_on_a_remembered_head_of_the_same_connection_is_one_500():
    server, protocol, transport = connect(Answers())
    protocol.data_received(HEALTH)
    server.handler = Raises()
    protocol.data_received(HEALTH)
    assert transport.statuses == [404, 500]
    assert transport.is_ended


def test_one_packet_of_many_requests_is_taken_in_turns():
    async def scenario():
        answers = Answers()
        _, protocol, transport = connect(answers)
        protocol.data_received(HEALTH * 1_000)
        assert 0 < answers.seen <= MAX_PARTS
        assert not transport.is_reading
        while answers.seen < 1_000:
            seen = answers.seen
            await asyncio.sleep(0)
            assert 0 < answers.seen - seen <= MAX_PARTS
        await asyncio.sleep(0)
        assert transport.is_reading
        assert transport.statuses == [404] * 1_000

    asyncio.run(scenario())


def test_many_full_packets_leave_turns_to_others():
    async def scenario():
        answers = Answers()
        server, *_ = connect(answers)
        greedy = [join(server) for _ in range(50)]
        for protocol, _ in greedy:
            protocol.data_received(HEALTH * 100)
        modest, transport = join(server)
        for _ in range(20):
            seen = answers.seen
            await asyncio.sleep(0)
            assert 0 < answers.seen - seen <= MAX_PARTS * MAX_VISITS
            modest.data_received(HEALTH)
        assert transport.statuses == [404] * 20
        shares = [len(each.statuses) for _, each in greedy]
        assert max(shares) - min(shares) <= MAX_PARTS
        while answers.seen < 5_020:
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_one_large_request_is_a_turn():
    async def scenario():
        answers = Answers()
        server, *_ = connect(answers)
        for _ in range(5):
            protocol, _ = join(server)
            protocol.data_received(HEALTH * MAX_PARTS + post(b"x" * 100_000) * 3)
        seen = answers.seen
        assert seen == 5 * MAX_PARTS
        while answers.seen < 5 * (MAX_PARTS + 3):
            await asyncio.sleep(0)
            assert answers.seen - seen == 1
            seen = answers.seen

    asyncio.run(scenario())


def test_no_more_requests_are_taken_than_may_wait_for_their_replies():
    async def scenario():
        keeps = Keeps()
        _, protocol, transport = connect(keeps)
        protocol.data_received(HEALTH * 300)
        for _ in range(MAX_PIPELINED):
            await asyncio.sleep(0)
        assert len(keeps.requests) == MAX_PIPELINED
        protocol.data_received(HEALTH)
        assert not transport.is_reading
        for number in range(301):
            keeps.requests[number].exchange.problem(404, "not here")
            for _ in range(MAX_PIPELINED):
                await asyncio.sleep(0)
            assert len(protocol.exchanges) <= MAX_PIPELINED
        assert transport.statuses == [404] * 301
        assert transport.is_reading

    asyncio.run(scenario())


def test_nothing_is_taken_behind_a_request_that_holds_the_connection():
    class Holds(Keeps):
        def handle(self, request):
            request.exchange.hold()
            super().handle(request)

    async def scenario():
        holds = Holds()
        _, protocol, transport = connect(holds)
        protocol.data_received(HEALTH)
        assert transport.is_reading  # to notice that the caller leaves
        protocol.data_received(HEALTH * 2)
        assert not transport.is_reading
        for number in range(3):
            assert len(holds.requests) == number + 1
            holds.requests[number].exchange.problem(404, "not here")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert transport.statuses == [404] * 3
        assert transport.is_reading

    asyncio.run(scenario())


def test_nothing_is_taken_from_a_caller_that_does_not_take_its_replies():
    async def scenario():
        answers = Answers()
        _, protocol, transport = connect(answers)
        protocol.pause_writing()
        protocol.data_received(HEALTH)
        assert (answers.seen, transport.is_reading) == (0, False)
        protocol.resume_writing()
        await asyncio.sleep(0)
        assert (answers.seen, transport.is_reading) == (1, True)

    asyncio.run(scenario())


def test_a_refused_caller_that_takes_nothing_is_dropped_after_the_time_for_writing():
    clock = ManualClock()
    server, protocol, transport = connect(Keeps(), clock.monotonic_s)
    protocol.data_received(b"\x00\r\n\r\n")
    protocol.pause_writing()
    clock.advance(29)
    server.sweep()
    assert not transport.is_aborted
    clock.advance(2)
    server.sweep()
    assert transport.is_aborted


def test_a_gateway_that_stops_tells_callers_with_their_next_reply_before_it_closes_idle_connections():
    keeps = Keeps()
    server, protocol, transport = connect(keeps)
    _, idle = join(server)
    protocol.data_received(HEALTH)
    server.end_with_replies()
    keeps.requests[0].exchange.problem(404, "begun before: it says nothing of an end")
    assert not transport.is_ended
    assert not idle.is_closed
    protocol.data_received(HEALTH)
    keeps.requests[1].exchange.problem(404, "the last one")
    assert transport.written.count(b"connection: close\r\n") == 1
    assert transport.statuses == [404, 404]
    assert transport.is_ended
    server.close_idle()
    assert idle.is_closed


def test_a_gateway_that_stops_answers_what_has_begun_and_takes_nothing_more():
    keeps = Keeps()
    server, protocol, transport = connect(keeps)
    _, idle = join(server)
    protocol.data_received(HEALTH[:20])
    server.close_idle()
    assert idle.is_closed
    assert not transport.is_closed
    protocol.data_received(HEALTH[20:] + HEALTH)
    (request,) = keeps.requests
    request.exchange.problem(404, "not here")
    assert transport.statuses == [404]
    assert transport.is_ended
