"""Which requests go the short way, and which to the application."""

from __future__ import annotations

from router.http.exchange import Handler, Request
from router.http.heads import Head
from router.oip.infer import is_infer
from router.predict.predict_handler import PREFIX


class HotRoutes(Handler):
    """Chooses among three handlers by a request's head, which remembers the choice.

    Args:
        predict: of predict requests.
        infer: of the Open Inference Protocol's infer requests.
        rest: of all others.
    """

    def __init__(self, predict: Handler, infer: Handler, rest: Handler) -> None:
        self._predict = predict
        self._infer = infer
        self._rest = rest

    def handle(self, request: Request) -> None:
        handler = request.head.handler = self._choose(request.head)
        handler.handle(request)

    def _choose(self, head: Head) -> Handler:
        if head.method == b"POST" and head.url.startswith(PREFIX):
            return self._predict
        if head.method == b"POST" and is_infer(head.url):
            return self._infer
        return self._rest
