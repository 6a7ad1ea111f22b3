"""Replies about the methods of a route."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.http import problem


def options(allow: str) -> Response:
    """Answers OPTIONS: which methods the route has. Nothing about other sites, so their pages stay shut out."""
    return Response(None, 204, {"allow": f"{allow}, OPTIONS"})


class PostOnly:
    """An ASGI application: what a route answers whose POSTs the hot path takes.

    The POSTs that come here nevertheless have a path that is only equal after decoding, such as one with ``%63``.

    Args:
        name: what the route is, for the reply.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._reply(Request(scope))(scope, receive, send)

    def _reply(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return options("POST")
        if request.method == "POST":
            detail = f"{self._name} needs its path as the document at /openapi.json writes it"
            return Response(problem.body(404, detail), 404, media_type="application/problem+json")
        detail = f"{self._name} needs POST"
        return Response(problem.body(405, detail), 405, {"allow": "POST"}, "application/problem+json")
