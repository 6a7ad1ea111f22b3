"""Health checks, answered at once whatever else the gateway is busy with.

They never wait behind the application's other requests: a supervisor restarts a gateway whose health check is late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request as AsgiRequest
from starlette.responses import Response

from router.http.authentication import SECURITY_HEADERS
from router.http.exchange import Headers, render
from router.http.request import Handler, Request

_GUARDS: Final[Headers] = [
    *[(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()],
    (b"cache-control", b"no-store"),
]


class Probe(Handler):
    """Answers one health check.

    Args:
        check: makes the reply; it must not wait.
    """

    def __init__(self, check: Callable[[], Response]) -> None:
        self._check = check

    def handle(self, request: Request) -> None:
        response = self._check()
        headers = [header for header in response.raw_headers if header[0] != b"content-length"]
        exchange = request.exchange
        body = bytes(response.body)
        exchange.reply(render(response.status_code, [*headers, *_GUARDS], body, exchange.connection_header))

    async def route(self, request: AsgiRequest) -> Response:
        """The same for the application, which takes what is not a plain GET."""
        del request
        return self._check()
