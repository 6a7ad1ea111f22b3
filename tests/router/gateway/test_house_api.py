"""``GET /api/v2/house`` and the sections in the stream: with a token, without one, and with a wrong one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.router.gateway_world import World
from tests.router.gateway_world import world as usual_world

TOKEN = "Authorization: Bearer secret"


@contextlib.asynccontextmanager
async def world(**changes: object) -> AsyncIterator[World]:
    async with usual_world(**changes) as it:
        it.link.house_sections = {"live": ("1", b'{"at_s":1.0}'), "runs": ("1", b"{}")}
        yield it


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


async def events(it, count: int, *headers: str) -> list[tuple[str, dict]]:
    """The first events of a stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    try:
        writer.write(get("/api/v2/events", *headers))
        assert b" 200 " in await asyncio.wait_for(reader.readline(), 60)
        found: list[tuple[str, dict]] = []
        name = ""
        while len(found) < count:
            line = (await asyncio.wait_for(reader.readline(), 60)).decode()
            if line.startswith("event: "):
                name = line.removeprefix("event: ").strip()
            elif line.startswith("data: "):
                found.append((name, msgspec.json.decode(line.removeprefix("data: "))))
        return found
    finally:
        writer.close()


def test_it_is_answered_from_memory_with_an_etag(run):
    async def scenario():
        async with world() as it:
            first, second = await it.raw(get("/api/v2/house", TOKEN) * 2, 2)
            assert first.json == {"live": {"at_s": 1.0}, "runs": {}}
            assert (first.status, second.body, second.headers["etag"]) == (200, first.body, first.headers["etag"])
            (same,) = await it.raw(get("/api/v2/house", TOKEN, f"If-None-Match: {first.headers['etag']}"))
            assert same.status == 304

    run(scenario())


def test_without_a_token_nothing_is_shown_by_default(run):
    async def scenario():
        async with world() as it:
            for path in ("/api/v2/house", "/api/v2/events", "/api/v2/status"):
                assert (await it.raw(get(path)))[0].status == 401

    run(scenario())


def test_public_sections_need_no_token_and_the_others_do(run):
    async def scenario():
        async with world(public_sections=("live",)) as it:
            (reply,) = await it.raw(get("/api/v2/house"))
            assert (reply.status, reply.json) == (200, {"live": {"at_s": 1.0}})
            (reply,) = await it.raw(get("/api/v2/house", TOKEN))
            assert set(reply.json) == {"live", "runs"}
            (reply,) = await it.raw(get("/api/v2/house", "Authorization: Bearer wrong"))
            assert reply.status == 401, "a wrong token is told, not passed over"
            (reply,) = await it.raw(get("/api/v2/status"))
            assert reply.status == 401
            (reply,) = await it.raw(get("/"))
            assert reply.json["public"] == ["live"], "so the page asks only for what it gets"
            (reply,) = await it.raw(get("/api/v2/house", "Sec-Fetch-Site: cross-site"))
            assert reply.status == 403
            (reply,) = await it.raw(get("/api/v2/house").replace(b"GET", b"POST"))
            assert reply.status == 401

    run(scenario())


def test_a_stream_without_a_token_has_the_public_sections_and_no_status(run):
    async def scenario():
        async with world(public_sections=("live",)) as it:
            found = await events(it, 2)
            assert found == [("house", {}), ("house", {"live": {"at_s": 1.0}})]
        async with world(public_sections=("live",)) as it:
            it.link.is_away = True
            assert [name for name, _ in await events(it, 1)] == ["away"]

    run(scenario())


@pytest.mark.parametrize("public", [("all",), ("status", "live", "runs")])
def test_a_stream_has_status_and_house_for_those_who_may_see_both(run, public):
    async def scenario():
        async with world(public_sections=public) as it:
            for headers in ((), (TOKEN,)):
                (status, _), house = await events(it, 2, *headers)
                assert status == "status"
                assert house == ("house", {"live": {"at_s": 1.0}, "runs": {}})

    run(scenario())


def test_a_controller_that_knows_no_house_costs_the_stream_nothing_but_that(run):
    async def scenario():
        async with world() as it:

            async def unknown(known):
                raise AttributeError("house")

            it.gateway._feed._renew = lambda: unknown({})
            assert [name for name, _ in await events(it, 1, TOKEN)] == ["status"]

    run(scenario())


def test_a_controller_that_is_away_is_told_as_such(run):
    async def scenario():
        async with world() as it:
            it.link.is_away = True
            (reply,) = await it.raw(get("/api/v2/house", TOKEN))
            assert reply.status == 503

    run(scenario())
