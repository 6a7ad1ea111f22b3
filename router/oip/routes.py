"""The Open Inference Protocol's health and metadata routes. They need no token. ``infer`` is in
`router.oip.infer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from divisions import __version__
from divisions.clock import Clock
from router.http import problem
from router.http.methods import PostOnly
from router.oip import descriptions
from router.oip.models import Directory, ServedModel

EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")
PREFIX = "/v2"
NOT_OFFERED = "not offered. docs/open-inference-protocol.md lists the routes"
"""What other paths below `PREFIX` are answered."""


def is_open(path: str) -> bool:
    """Whether a path belongs to the protocol. Its routes need no token, because they change nothing."""
    return path == PREFIX or path.startswith(PREFIX + "/")


class OipApi:
    """The routes, over a directory of models."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def checks(self) -> dict[str, Callable[[], Response]]:
        """The health checks by path."""
        return {PREFIX + "/health/live": _alive, PREFIX + "/health/ready": self._readiness}

    def routes(self) -> list[Route]:
        model = PREFIX + "/models/{model}"
        version = model + "/versions/{version}"
        return [
            Route(PREFIX, self._server),
            Route(PREFIX + "/health/live", self._live),
            Route(PREFIX + "/health/ready", self._ready),
            Route(PREFIX + "/repository/index", self._index, methods=["POST"]),
            Route(PREFIX + "/models/stats", self._statistics),
            Route(model, self._model),
            Route(version, self._model),
            Route(model + "/config", self._configuration),
            Route(version + "/config", self._configuration),
            Route(model + "/stats", self._statistics),
            Route(version + "/stats", self._statistics),
            Route(model + "/ready", self._model_ready),
            Route(version + "/ready", self._model_ready),
            Route(model + "/infer", PostOnly("infer")),
            Route(version + "/infer", PostOnly("infer")),
        ]

    async def _server(self, request: Request) -> Response:
        return _json({"name": "divisions", "version": __version__, "extensions": EXTENSIONS})

    async def _live(self, request: Request) -> Response:
        return _alive()

    async def _ready(self, request: Request) -> Response:
        return self._readiness()

    def _readiness(self) -> Response:
        if self._directory.is_ready:
            return _json({"ready": True})
        return _not_ready("nothing is deployed yet" if self._directory.is_empty else "a model has no warm replica")

    async def _index(self, request: Request) -> Response:
        return _json([_entry(model, label) for model in self._directory.endpoints() for label in model.versions])

    async def _model(self, request: Request) -> Response:
        model = self._directory.find(request.path_params["model"])
        return _json(model.metadata(request.path_params.get("version")))

    async def _configuration(self, request: Request) -> Response:
        model = self._directory.find(request.path_params["model"])
        return _json(descriptions.configuration(model, request.path_params.get("version")))

    async def _statistics(self, request: Request) -> Response:
        """Of one version, one model, or all models under their endpoints' names."""
        name = request.path_params.get("model")
        models = self._directory.endpoints() if name is None else [self._directory.find(name)]
        label = request.path_params.get("version")
        since_start_s = self._clock.wall_s() - self._clock.monotonic_s()
        found = [each for model in models for each in descriptions.statistics(model, label, since_start_s)]
        return _json({"model_stats": found})

    async def _model_ready(self, request: Request) -> Response:
        model = self._directory.find(request.path_params["model"])
        label = request.path_params.get("version")
        version = model.stable if label is None else model.version(label)
        if version.is_ready:
            return _json({"name": model.name, "ready": True})
        return _not_ready("the version has no warm replica")


def _alive() -> Response:
    return _json({"live": True})


def _entry(model: ServedModel, label: str) -> dict[str, str]:
    is_ready = model.versions[label].is_ready
    state, reason = ("READY", "") if is_ready else ("UNAVAILABLE", "no warm replica")
    return {"name": model.name, "version": label, "state": state, "reason": reason}


def _json(document: Any) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")


def _not_ready(reason: str) -> Response:
    members = msgspec.json.decode(problem.body(503, reason), type=dict[str, Any])
    return Response(msgspec.json.encode(members | {"ready": False}), 503, media_type="application/problem+json")
