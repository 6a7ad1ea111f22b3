"""The control API's outermost layer: checks the token, and puts the security headers on every reply.

Plain ASGI. Starlette's `BaseHTTPMiddleware` passes each part of a reply through a queue. That takes two more tasks for
every open stream, and triples the time of a small request.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.http import problem

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}

HSTS = {"strict-transport-security": "max-age=31536000"}
"""A browser that once had the page by TLS asks for it by nothing else, for a year (RFC 6797)."""


class BearerAuthentication:
    """Denies by default: a path that is not open needs a token, and pages of other sites may not use it.

    Args:
        is_open: whether a path needs no token.
        refusal: the reply to a request whose token does not allow it; None for one that may be.
        is_encrypted: whether the port has TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        is_open: Callable[[str], bool],
        refusal: Callable[[Scope, Headers], Response | None],
        is_encrypted: bool = False,
    ) -> None:
        self._app = app
        self._is_open = is_open
        self._refused = refusal
        self._headers = SECURITY_HEADERS | (HSTS if is_encrypted else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = None if self._is_open(scope["path"]) else self._refusal(scope, Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        site = headers.get("sec-fetch-site", "same-origin")
        if site not in {"same-origin", "none"}:
            return _problem(403, "requests from other sites are not taken")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            # Browsers send Sec-Fetch-Site only to addresses that they trust. Over plain HTTP that is loopback only.
            return _problem(403, "requests from other sites are not taken")
        refusal = self._refused(scope, headers)
        if refusal is not None:
            return refusal
        media = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and media != "application/json":
            return _problem(415, "the body must be application/json")
        return None


def _problem(status: int, detail: str) -> Response:
    return Response(problem.body(status, detail), status, media_type="application/problem+json")
