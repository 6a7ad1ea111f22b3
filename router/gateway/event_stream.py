"""``GET /api/v2/events``: the cluster's status as server-sent events, for the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.gateway.status_feed import StatusFeed
from router.http import problem

KEEP_ALIVE_S = 10.0
"""How often a silent stream gets a comment, so that readers and proxies know that it is alive."""
RETRY_S = 5
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # Otherwise nginx holds events back until it has a full page.
]


class EventStream:
    """An ASGI application. Each caller gets the latest status at once, then changes, at most one a second."""

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
            sending = asyncio.ensure_future(self._send_changes(send))
            disconnect = asyncio.ensure_future(_disconnected(receive))
            try:
                done, _ = await asyncio.wait({sending, disconnect}, return_when=asyncio.FIRST_COMPLETED)
                if sending in done:
                    sending.result()
            finally:
                sending.cancel()
                disconnect.cancel()
                await asyncio.gather(sending, disconnect, return_exceptions=True)

    async def _send_changes(self, send: Send) -> None:
        sent = 0
        sent_at_s = self._now_s()
        while not self._feed.is_closed:
            latest = self._feed.latest
            now_s = self._now_s()
            if latest is not None and latest.number != sent:
                sent, sent_at_s = latest.number, now_s
                await send(_part(b"event: %s\ndata: %s\n\n" % (latest.name.encode(), latest.data)))
            elif now_s - sent_at_s >= KEEP_ALIVE_S:
                sent_at_s = now_s
                await send(_part(b": nothing new\n\n"))
            else:
                await self._feed.turn()
        await send({"type": "http.response.body", "body": b""})


def _part(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
