"""``GET /api/v2/events``: the cluster's status as server-sent events, for the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.gateway.status_feed import StatusFeed
from router.http import problem

KEEP_ALIVE_S = 10.0
"""A silent stream gets a comment so often: whoever reads it, and whatever lies between, sees that it lives."""
RETRY_S = 5
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # else nginx keeps events back until it has a page full
]


class EventStream:
    """An ASGI application. Each caller hears what is known at once, then changes, at most one a second."""

    def __init__(self, feed: StatusFeed, now_s: Callable[[], float]) -> None:
        self._feed = feed
        self._now_s = now_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._feed.is_full or self._feed.is_closed:
            detail = f"{self._feed.num_watchers} streams are open, which is as many as a gateway keeps"
            body = problem.body(503, "the gateway is stopping" if self._feed.is_closed else detail)
            await Response(body, 503, {"retry-after": str(RETRY_S)}, "application/problem+json")(scope, receive, send)
            return
        with self._feed.watched():
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            telling = asyncio.ensure_future(self._tell(send))
            leaving = asyncio.ensure_future(_left(receive))
            try:
                done, _ = await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if telling in done:
                    telling.result()
            finally:
                telling.cancel()
                leaving.cancel()
                await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell(self, send: Send) -> None:
        told = 0
        told_at_s = self._now_s()
        while not self._feed.is_closed:
            latest = self._feed.latest
            now_s = self._now_s()
            if latest is not None and latest.number != told:
                told, told_at_s = latest.number, now_s
                await send(_part(b"event: %s\ndata: %s\n\n" % (latest.name.encode(), latest.data)))
            elif now_s - told_at_s >= KEEP_ALIVE_S:
                told_at_s = now_s
                await send(_part(b": nothing new\n\n"))
            else:
                await self._feed.turn()
        await send({"type": "http.response.body", "body": b""})


def _part(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
