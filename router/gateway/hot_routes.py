"""Chooses a request's handler: one of the two hot paths, the probes, another protocol's, or the application."""

from __future__ import annotations

from router.http.request import Handler, Head, Request
from router.oip.infer import is_infer
from router.predict.predict_handler import PREFIX


class HotRoutes(Handler):
    """Chooses among handlers by a request's head, which remembers the choice.

    Args:
        predict: of predict requests.
        infer: of the Open Inference Protocol's infer requests.
        probes: of the health checks, by target.
        posts: of other POSTs that the application is too slow for, by target.
        rest: of all others.
    """

    def __init__(
        self,
        predict: Handler,
        infer: Handler,
        probes: dict[bytes, Handler],
        posts: dict[bytes, Handler],
        rest: Handler,
    ) -> None:
        self._predict = predict
        self._infer = infer
        self._probes = probes
        self._posts = posts
        self._rest = rest

    def handle(self, request: Request) -> None:
        handler = request.head.handler = self._choose(request.head)
        handler.handle(request)

    def _choose(self, head: Head) -> Handler:
        if head.method == b"POST" and head.url.startswith(PREFIX):
            return self._predict
        if head.method == b"POST" and is_infer(head.url):
            return self._infer
        if head.method == b"POST":
            return self._posts.get(head.url, self._rest)
        if head.method == b"GET":
            return self._probes.get(head.url, self._rest)
        return self._rest
