"""What a gateway's own port answers: its own metrics, and all else as the port that the gateways share."""

from __future__ import annotations

from collections.abc import Mapping

from router.http.request import Handler, Request


class OwnPort(Handler):
    """Chooses by the target, whatever its query.

    Args:
        own: what only this port answers, by path.
        shared: answers all other requests.
    """

    def __init__(self, own: Mapping[bytes, Handler], shared: Handler) -> None:
        self._own = own
        self._shared = shared

    def handle(self, request: Request) -> None:
        path = request.head.url.partition(b"?")[0]
        self._own.get(path, self._shared).handle(request)
