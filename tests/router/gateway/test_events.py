"""Server-sent events: what watchers are told and when, that nobody is waited for, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import msgspec
import pytest

from divisions.access import tokens
from divisions.access.limits import NO_LIMITS
from divisions.access.roles import Role
from divisions.clock import ManualClock
from divisions.errors import NotRunningError
from router.gateway import status_feed
from router.gateway.event_stream import KEEP_ALIVE_S, EventStream
from router.gateway.status_feed import MAX_WATCHERS, StatusFeed
from tests.router.gateway.test_keys import bearer, granted, publish
from tests.router.gateway_world import features, minutes_score, post, read_reply, world
from tests.router.waiting import until

TOKEN = "Authorization: Bearer secret"


class Controller:
    """Answers as it is told, once per turn that the test grants."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.answer: object = {"epoch": 1}
        self.asked = 0
        self._turns = asyncio.Semaphore(0)
        self.feed = StatusFeed(self._read, self._sleep)

    async def _read(self) -> dict:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)

    async def _sleep(self, seconds: float) -> None:
        assert seconds == status_feed.TURN_S
        await self._turns.acquire()
        self.clock.advance(seconds)

    async def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self._turns.release()
            await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Caller:
    """One who reads the stream, as an ASGI server would hand it over."""

    def __init__(self, controller: Controller, method: str = "GET", may_go_on=lambda scope: True) -> None:
        self.messages: list[dict] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._gone = asyncio.Event()
        app = EventStream(controller.feed, controller.clock.monotonic_s, may_go_on=may_go_on)
        self.task = asyncio.ensure_future(app({"type": "http", "method": method}, self._receive, self._send))

    async def _receive(self) -> dict:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict) -> None:
        await self.may_read.wait()
        self.messages.append(message)

    async def leave(self) -> None:
        self._gone.set()
        await self.task

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages[1:]).decode()

    @property
    def events(self) -> list[tuple[str, dict]]:
        found = []
        for event in self.text.split("\n\n"):
            if event.startswith("event: "):
                name, _, data = event.removeprefix("event: ").partition("\ndata: ")
                found.append((name, msgspec.json.decode(data)))
        return found


def test_a_watcher_hears_the_status_at_once_and_then_only_changes(run):
    async def scenario():
        controller = Controller()
        caller = Caller(controller)
        await settle()
        assert caller.status == 200
        assert caller.events == [("status", {"epoch": 1})]
        await controller.turn(3)
        assert len(caller.events) == 1
        controller.answer = {"epoch": 2}
        await controller.turn()
        assert caller.events[1:] == [("status", {"epoch": 2})]
        await caller.leave()

    run(scenario())


def test_ages_that_grow_are_no_news(run):
    async def scenario():
        controller = Controller()
        controller.answer = {"replicas": [{"name": "r", "age_s": 1.0}], "gateway": {"now_s": 1.0}}
        caller = Caller(controller)
        await settle()
        assert caller.events == [("status", controller.answer)]
        controller.answer = {"replicas": [{"name": "r", "age_s": 2.0}], "gateway": {"now_s": 2.0}}
        await controller.turn()
        assert len(caller.events) == 1
        controller.answer = {"replicas": [{"name": "other", "age_s": 3.0}], "gateway": {"now_s": 3.0}}
        await controller.turn()
        assert caller.events[1:] == [("status", controller.answer)]
        await caller.leave()

    run(scenario())


def test_one_question_a_turn_serves_all_watchers_and_none_is_asked_for_nobody(run):
    async def scenario():
        before = asyncio.all_tasks()
        controller = Controller()
        await controller.turn()
        assert controller.asked == 0
        callers = [Caller(controller) for _ in range(10)]
        await settle()
        asked = controller.asked
        await controller.turn(2)
        assert controller.asked == asked + 2
        late = Caller(controller)
        await settle()
        assert late.events == callers[0].events == [("status", {"epoch": 1})]
        assert controller.asked == asked + 2
        for caller in (*callers, late):
            await caller.leave()
        asked = controller.asked
        await controller.turn(2)
        assert controller.asked == asked
        assert asyncio.all_tasks() == before

    run(scenario())


def test_silence_is_broken_by_comments(run):
    async def scenario():
        controller = Controller()
        caller = Caller(controller)
        await settle()
        await controller.turn(round(KEEP_ALIVE_S) - 1)
        assert ": " not in caller.text.replace("event: ", "").replace("data: ", "")
        await controller.turn()
        assert caller.text.endswith("\n\n: nothing new\n\n")
        assert len(caller.events) == 1
        await caller.leave()

    run(scenario())


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(NotRunningError("it is away"), "it is away"), (ValueError("/secret/path"), "internal error")],
)
def test_a_controller_that_is_away_is_told_once_and_its_return_too(run, failure, reason):
    async def scenario():
        controller = Controller()
        caller = Caller(controller)
        await settle()
        controller.answer = failure
        await controller.turn(3)
        controller.answer = {"epoch": 1}
        await controller.turn()
        assert [name for name, _ in caller.events] == ["status", "away", "status"]
        assert reason in caller.events[1][1]["reason"]
        assert "/secret" not in caller.text
        await caller.leave()

    run(scenario())


def test_a_controller_that_never_answers_is_away(run, monkeypatch):
    monkeypatch.setattr(status_feed, "ANSWER_S", 0.01)

    async def scenario():
        async def never() -> dict:
            await asyncio.Event().wait()
            raise AssertionError

        feed = StatusFeed(never, lambda _: asyncio.Event().wait())
        with feed.watched():
            await feed.turn()
            assert feed.latest.name == "away"
            assert b"has not answered for" in feed.latest.data

    run(scenario())


def test_a_slow_reader_misses_what_it_had_no_time_for_and_keeps_nothing_waiting(run):
    async def scenario():
        controller = Controller()
        slow, quick = Caller(controller), Caller(controller)
        await settle()
        slow.may_read.clear()
        for epoch in range(2, 200):
            controller.answer = {"epoch": epoch}
            await controller.turn()
        assert len(quick.events) == 199
        slow.may_read.set()
        await settle()
        # What was being sent when it stopped reading, and what is so now.
        assert [data["epoch"] for _, data in slow.events] == [1, 2, 199]
        await slow.leave()
        await quick.leave()

    run(scenario())


def test_more_watchers_than_the_cap_are_told_when_to_come_back(run):
    async def scenario():
        controller = Controller()
        callers = [Caller(controller) for _ in range(MAX_WATCHERS)]
        await settle()
        refused = Caller(controller)
        await refused.task
        assert refused.status == 503
        assert (b"retry-after", b"5") in refused.messages[0]["headers"]
        await callers.pop().leave()
        taken = Caller(controller)
        await settle()
        assert taken.status == 200
        for caller in (*callers, taken):
            await caller.leave()
        assert controller.feed.num_watchers == 0

    run(scenario())


def test_closing_ends_every_stream_in_order_and_takes_no_new_one(run):
    async def scenario():
        before = asyncio.all_tasks()
        controller = Controller()
        callers = [Caller(controller) for _ in range(3)]
        await settle()
        controller.feed.close()
        await asyncio.gather(*[caller.task for caller in callers])
        assert [caller.messages[-1] for caller in callers] == [{"type": "http.response.body", "body": b""}] * 3
        late = Caller(controller)
        await late.task
        assert late.status == 503
        assert asyncio.all_tasks() == before

    run(scenario())


def test_a_stream_ends_with_the_next_turn_when_its_token_has_and_others_go_on(run):
    async def scenario():
        controller = Controller()
        valid = {"is": True}
        caller, other = Caller(controller, may_go_on=lambda scope: valid["is"]), Caller(controller)
        await settle()
        await controller.turn(2)
        assert not caller.task.done()
        valid["is"] = False
        controller.answer = {"epoch": 2}
        await controller.turn()
        await caller.task
        assert caller.messages[-1] == {"type": "http.response.body", "body": b""}
        assert caller.events == [("status", {"epoch": 1})], "nothing is told after the end"
        assert [data["epoch"] for _, data in other.events] == [1, 2]
        await other.leave()

    run(scenario())


def test_a_look_at_the_head_keeps_no_stream_open(run):
    async def scenario():
        controller = Controller()
        caller = Caller(controller, "HEAD")
        await caller.task
        assert caller.status == 200
        assert caller.text == ""
        assert controller.feed.num_watchers == 0

    run(scenario())


# ---- over real sockets ------------------------------------------------------------------------------------------


def get(*headers: str) -> bytes:
    return "\r\n".join(["GET /api/v2/events HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


async def chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


@contextlib.asynccontextmanager
async def stream(it, extra: bytes = b""):
    """An open stream: what came as its head, and its reader."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    writer.write(get(TOKEN) + extra)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    yield head.decode().lower(), reader, writer
    writer.close()


def test_events_need_the_token_and_are_not_told_to_other_sites(run):
    async def scenario():
        async with world() as it:
            for headers, status in (
                ((), 401),
                (("Authorization: Bearer wrong",), 401),
                ((TOKEN, "Origin: http://evil.example"), 403),
                ((TOKEN, "Sec-Fetch-Site: cross-site"), 403),
            ):
                (reply,) = await it.raw(get(*headers))
                assert reply.status == status
                assert reply.headers["content-security-policy"] == "default-src 'self'; frame-ancestors 'none'"
            assert it.link.status_calls == 0

    run(scenario())


@pytest.mark.parametrize("way", ["revoked", "expired"])
def test_an_open_stream_ends_with_its_token(run, way):
    async def scenario():
        known, (token,) = granted(("board", Role.VIEWER, (), NO_LIMITS))
        async with world() as it:
            await publish(it, known)
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(get(bearer(token)))
            assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            if way == "revoked":
                await publish(it, tokens.revoke(known, "board"))
            else:
                it.gateway._tokens._wall_s = lambda: 9e9
            async with asyncio.timeout(60):
                while await chunk(reader):
                    pass
            (reply,) = await it.raw(get(bearer(token)))
            assert reply.status == 401
            writer.close()

    run(scenario())


def test_the_events_of_a_gateway_are_its_status(run):
    async def scenario():
        async with world() as it, stream(it) as (head, reader, _):
            assert head.startswith("http/1.1 200 ok")
            for header in ("content-type: text/event-stream", "cache-control: no-store", "transfer-encoding: chunked"):
                assert header in head
            assert "x-content-type-options: nosniff" in head
            event = await chunk(reader)
            assert event.startswith(b"event: status\ndata: ")
            told = msgspec.json.decode(event.partition(b"data: ")[2])
            (reply,) = await it.raw(get(TOKEN).replace(b"events", b"status"))
            asked = reply.json
            for answer in (told, asked):
                assert answer["gateway"].pop("now_s") > 1e9
            assert told == asked
            (metrics,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b'divisions_event_streams{gateway="0"} 1.0\n' in metrics.body

    run(scenario())


def tasks_of_callers() -> set[asyncio.Task]:
    """All tasks but those of the poll for the table, which are other ones after each answer."""
    own = {"FakeLink.poll_table", "Event.wait"}
    return {task for task in asyncio.all_tasks() if task.get_coro().__qualname__ not in own}


def test_callers_that_leave_leave_nothing_behind(run):
    async def scenario():
        async with world() as it:
            before = tasks_of_callers()
            for number in range(12):
                async with stream(it) as (_, reader, writer):
                    await chunk(reader)
                    assert it.gateway._feed.num_watchers == 1
                    if number % 2:
                        writer.transport.abort()
                await until(lambda: it.gateway._feed.num_watchers == 0 and not it.gateway._asgi._tasks)
            await until(lambda: tasks_of_callers() <= before)

    run(scenario())


def test_a_caller_that_reads_nothing_holds_up_its_own_stream_alone(run):
    async def scenario():
        async with world() as it:
            turns = asyncio.Semaphore(0)
            it.gateway._feed._sleep = lambda _: turns.acquire()
            async with stream(it) as (_, _, writer), stream(it) as (_, other, _):
                writer.transport.pause_reading()
                for epoch in range(100):
                    document = {"replicas": [], "rollouts": [], "epoch": epoch, "padding": "x" * 200_000}
                    it.link.status_json = msgspec.json.encode(document)
                    turns.release()
                    while b'"epoch":%d,' % epoch not in await asyncio.wait_for(chunk(other), 60):
                        pass
                kept = [each._transport.get_write_buffer_size() for each in it.gateway._http.connections]
                assert 0 < max(kept) < 500_000

    run(scenario())


def test_a_stream_behind_a_stream_is_not_begun_and_piles_nothing_up(run):
    async def scenario():
        async with world() as it, stream(it, get(TOKEN)) as (_, reader, _):
            await chunk(reader)
            (connection,) = it.gateway._http.connections
            (first,) = connection.exchanges
            assert first._buffer is None
            assert connection._rest == get(TOKEN)
            assert it.gateway._feed.num_watchers == 1
            it.gateway._feed.close()  # The first ends, and then the second has its turn.
            assert await chunk(reader) == b""
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")

    run(scenario())


def test_a_stream_behind_a_slow_request_piles_nothing_up(run):
    async def scenario():
        async with world() as it:
            release = threading.Event()
            release.set()  # the replica is warmed up first
            slow = await it.thread_replica(lambda rows: (release.wait(120), minutes_score(rows))[1])
            await it.route([slow])
            release.clear()
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
                writer.write(post({"customer_id": "c", "features": features()}) + get(TOKEN))
                await until(lambda: it.gateway._feed.num_watchers == 1)
                (connection,) = it.gateway._http.connections
                first, second = connection.exchanges
                await asyncio.sleep(0)
                assert (first._buffer, second._buffer) == (None, None)
                release.set()
                assert (await read_reply(reader)).status == 200
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                writer.close()
            finally:
                release.set()

    run(scenario())


def test_a_gateway_that_stops_ends_its_streams_at_once(run):
    async def scenario():
        async with world() as it, stream(it) as (_, reader, _):
            await chunk(reader)
            await asyncio.wait_for(it.gateway.stop(grace_s=300.0), 60)
            assert await chunk(reader) == b""
            assert await reader.read() == b""
            assert not it.gateway._asgi._tasks

    run(scenario())


def test_requests_on_the_same_connection_are_answered_after_a_stream_has_ended(run):
    async def scenario():
        async with world() as it:
            health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            async with stream(it, health) as (_, reader, _):
                await chunk(reader)
                it.gateway._feed.close()
                assert await chunk(reader) == b""
                reply = await read_reply(reader)
                assert reply.body == b"ok\n"

    run(scenario())


def test_a_caller_of_http_1_0_gets_its_stream_in_one_piece(run):
    async def scenario():
        async with world() as it:
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(get(TOKEN).replace(b"HTTP/1.1", b"HTTP/1.0"))
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).lower()
            assert b"transfer-encoding" not in head
            assert b"connection: close" in head
            assert await reader.readuntil(b"\n") == b"event: status\n"
            it.gateway._feed.close()
            rest = await asyncio.wait_for(reader.read(), 60)
            assert rest.startswith(b"data: {")
            assert rest.endswith(b"}\n\n")
            writer.close()

    run(scenario())
