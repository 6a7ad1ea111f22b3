"""Replies about the methods of a route."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from router.http import problem

NOT_POST = ("GET", "PUT", "DELETE", "PATCH", "OPTIONS")
"""What a route that takes POST only answers with `needs_post`."""


def options(allow: str) -> Response:
    """Answers OPTIONS: which methods the route has. Nothing about other sites, so their pages stay shut out."""
    return Response(None, 204, {"allow": f"{allow}, OPTIONS"})


def needs_post(request: Request, name: str) -> Response:
    """Answers any other method of a route that takes POST only."""
    if request.method == "OPTIONS":
        return options("POST")
    return Response(problem.body(405, f"{name} needs POST"), 405, {"allow": "POST"}, "application/problem+json")
