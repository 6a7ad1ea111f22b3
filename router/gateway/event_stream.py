"""``GET /api/v2/events``: the cluster's status, and the house by sections, as server-sent events for the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.gateway.house_copy import ALL, STATUS, HouseCopy
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
    """An ASGI application. Each caller gets the latest status at once, then changes, at most one a second; and so the
    sections of the house.

    Args:
        feed: has the status, and wakes the streams.
        now_s: monotonic clock.
        house: has the sections; None for a stream of the status alone.
        seen_by: what the sender of a request may see, see `router.gateway.house_copy.ALL`.
        may_go_on: whether the sender may still see it. A stream whose token has ended is closed within a second.
    """

    def __init__(
        self,
        feed: StatusFeed,
        now_s: Callable[[], float],
        house: HouseCopy | None = None,
        seen_by: Callable[[Scope], frozenset[str]] = lambda scope: ALL,
        may_go_on: Callable[[Scope], bool] = lambda scope: True,
    ) -> None:
        self._feed = feed
        self._now_s = now_s
        self._house = house
        self._seen_by = seen_by
        self._may_go_on = may_go_on

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
            sending = asyncio.ensure_future(self._send_changes(send, scope))
            disconnect = asyncio.ensure_future(_disconnected(receive))
            try:
                done, _ = await asyncio.wait({sending, disconnect}, return_when=asyncio.FIRST_COMPLETED)
                if sending in done:
                    sending.result()
            finally:
                sending.cancel()
                disconnect.cancel()
                await asyncio.gather(sending, disconnect, return_exceptions=True)

    async def _send_changes(self, send: Send, scope: Scope) -> None:
        names = self._seen_by(scope)
        sent = 0
        stamps: dict[str, str] = {}
        sent_at_s = self._now_s()
        while not self._feed.is_closed and self._may_go_on(scope):
            latest = self._feed.latest
            now_s = self._now_s()
            if latest is not None and latest.number != sent:
                sent, sent_at_s = latest.number, now_s
                await send(_event(latest.name, latest.data) if _may_see(latest.name, names) else _event("house", b"{}"))
            elif latest is not None and (news := self._news(stamps, names)):
                sent_at_s = now_s
                await send(_event("house", news))
            elif now_s - sent_at_s >= KEEP_ALIVE_S:
                sent_at_s = now_s
                await send(_part(b": nothing new\n\n"))
            else:
                await self._feed.turn()
        await send({"type": "http.response.body", "body": b""})

    def _news(self, stamps: dict[str, str], names: frozenset[str]) -> bytes:
        return self._house.news(stamps, names) if self._house is not None else b""


def _may_see(name: str, names: frozenset[str]) -> bool:
    """Whether a reader may have such an event. That the controller is away is told to all."""
    return name != STATUS or STATUS in names


def _event(name: str, data: bytes) -> dict[str, object]:
    return _part(b"event: %s\ndata: %s\n\n" % (name.encode(), data))


def _part(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
