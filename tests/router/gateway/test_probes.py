"""Health checks are answered at once, while the application is busy."""

from __future__ import annotations

import asyncio

import pytest

from tests.router.gateway_world import minutes_score, read_reply, world

PROBES = ("/healthz", "/readyz", "/ping", "/execution-parameters", "/v2/health/live", "/v2/health/ready")


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.mark.parametrize("path", PROBES)
def test_a_check_does_not_wait_for_the_application(run, path):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            stuck = asyncio.Event()
            application = it.gateway._asgi._app

            async def slow(scope, receive, send):
                await stuck.wait()
                await application(scope, receive, send)

            it.gateway._asgi._app = slow
            opened = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(100)]
            for _, writer in opened:
                writer.write(get("/page/page.js"))
            (reply,) = await it.raw(get(path))
            assert reply.status == 200
            stuck.set()
            for reader, writer in opened:
                assert (await read_reply(reader)).status == 200
                writer.close()

    run(scenario())


@pytest.mark.parametrize("path", PROBES)
def test_a_check_is_the_same_whoever_answers_it(run, path):
    async def scenario():
        for is_deployed in (True, False):
            async with world() as it:
                if is_deployed:
                    await it.route([await it.replica("3.1", minutes_score)])
                (direct,) = await it.raw(get(path))
                (routed,) = await it.raw(get(path + "?verbose"))
                assert (direct.status, direct.body) == (routed.status, routed.body)
                assert direct.headers == routed.headers

    run(scenario())
