"""Everything on the gateway's port that is not on the hot path: health, metrics and the control API.

Control routes need a bearer token. It is checked before anything else, by `router.gateway.guard`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from divisions import __version__
from divisions.access.decision import ANY_ENDPOINT
from divisions.access.roles import Action
from divisions.clock import Clock
from divisions.drift import DriftReport
from divisions.errors import DivisionsError, MalformedRequestError, UnknownVersionError
from divisions.status import ControllerStatus
from router.gateway import drift_metrics, exposition, house_api, rollout_metrics
from router.gateway.api_document import ApiDocument
from router.gateway.approval_api import ApprovalApi
from router.gateway.control_body import CommandBody, ScaleBody, read_body, require_object
from router.gateway.documents import EndpointSummary, GatewayState, Index, VersionShare
from router.gateway.event_stream import EventStream
from router.gateway.guard import Guard, actor_of, require
from router.gateway.house_api import HouseApi
from router.gateway.house_copy import HouseCopy
from router.gateway.jwt_memory import JwtMemory
from router.gateway.neighbours import OWN_METRICS, Neighbours
from router.gateway.operations import COMMANDS
from router.gateway.operations import PATH as API_DOCUMENT
from router.gateway.probes import Probe
from router.gateway.scrape import Scrape
from router.gateway.status_feed import StatusFeed
from router.gateway.token_api import TokenApi
from router.gateway.token_book import TokenBook
from router.http import problem, static_files
from router.http.authentication import BearerAuthentication
from router.http.methods import PostOnly, options
from router.oip import routes
from router.predict.controller_link import ControllerLink
from router.predict.dispatcher import Dispatcher
from router.predict.stored_features import StoreHealth
from router.sagemaker import invocations as sagemaker

log = logging.getLogger(__name__)

Told = TypeVar("Told")

METRICS = "/metrics"
EVENTS = "/api/v2/events"
SERVER = "*"
"""The target of ``OPTIONS *``, which asks about the server and no resource (RFC 9110, 9.3.7)."""
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", METRICS, OWN_METRICS, API_DOCUMENT, SERVER, *sagemaker.PATHS})
SCRAPE_S = 1.0
"""How long a scrape waits for the controller."""
_GENERATION = re.compile("[0-9]{1,18}")
_FORCE = {"": False, "0": False, "false": False, "1": True, "true": True}


class ControlApi:
    """The routes, over a controller link and a dispatcher."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        link: ControllerLink,
        book: TokenBook,
        metrics: Callable[[], bytes],
        gateway_id: str,
        number: int,
        neighbours: Neighbours,
        clock: Clock,
        store_health: Callable[[], StoreHealth | None],
        max_body_bytes: int,
        jwts: JwtMemory | None = None,
        public: Collection[str] = (),
        is_encrypted: bool = False,
    ) -> None:
        self._dispatcher = dispatcher
        self._link = link
        self._guard = Guard(book, clock.monotonic_s, jwts, {house_api.PATH, EVENTS} if public else ())
        self._metrics = metrics
        self._scrape = Scrape(self._of_node, clock.monotonic_s)
        self._own_scrape = Scrape(self._of_gateway, clock.monotonic_s)
        self._gateway_id = gateway_id
        self._number = number
        self._neighbours = neighbours
        self._clock = clock
        self._store_health = store_health
        self._max_body_bytes = max_body_bytes
        self._is_encrypted = is_encrypted
        self._page = static_files.read_page()
        self._api = ApiDocument(dispatcher)
        self._house = HouseCopy(link, clock.monotonic_s)
        self._house_api = HouseApi(self._house, public)
        self.refused = self._guard.refused
        self.feed = StatusFeed(self._read_status, renew=self._house.refresh)

    def checks(self) -> dict[str, Callable[[], Response]]:
        """The health checks by path."""
        return {
            "/healthz": _alive,
            "/readyz": self._readiness,
            sagemaker.PING: self._readiness,
            sagemaker.EXECUTION_PARAMETERS: sagemaker.execution_parameters(self._max_body_bytes),
        }

    def application(self, further: Sequence[Route] = ()) -> Starlette:
        """The routes here and ``further`` ones. `_is_open` decides which of them need no token."""
        rollouts = "/api/v2/rollouts"
        events = EventStream(
            self.feed, self._clock.monotonic_s, self._house, self._house_api.seen_by, self._guard.still_lets_in
        )
        routes = [
            Route("/", self._index),
            Route(static_files.PREFIX + "{name:path}", self._page_file),
            *[Route(path, Probe(check).route) for path, check in self.checks().items()],
            Route(METRICS, self._read_metrics),
            Route(API_DOCUMENT, self._api_document),
            Route("/api/v2/status", self._status),
            Route(EVENTS, events, methods=["GET"]),
            *self._house_api.routes(),
            Route("/api/v2/drift", self._drift, methods=["GET"]),
            Route("/api/v2/drift/{endpoint}", self._drift_of, methods=["GET"]),
            Route(rollouts, self._rollouts, methods=["GET", "POST"]),
            Route(rollouts + "/{endpoint}", self._rollout, methods=["GET"]),
            Route(rollouts + "/{endpoint}/scale", self._scale, methods=["POST"]),
            Route(rollouts + "/{endpoint}/{command}", self._command, methods=["POST"]),
            *TokenApi(self._link).routes(),
            *ApprovalApi(self._link).routes(),
            Route("/api/v2/predict/{endpoint}", PostOnly("predict")),
            Route(sagemaker.INVOCATIONS, PostOnly("an invocation")),
            *further,
        ]
        return self._starlette(routes)

    def _starlette(self, routes: list[Route]) -> Starlette:
        guarded = Middleware(
            BearerAuthentication, is_open=_is_open, refusal=self._guard.refusal, is_encrypted=self._is_encrypted
        )
        return Starlette(
            routes=routes,
            middleware=[guarded],
            exception_handlers={HTTPException: _http_problem, DivisionsError: _our_problem},
        )

    async def _index(self, request: Request) -> Response:
        """The page for browsers; for others the endpoints as JSON."""
        wants_page = static_files.prefers_html(request.headers.get("accept", ""))
        response = self._page[static_files.INDEX].reply(request) if wants_page else self._endpoints()
        response.headers["vary"] = "Accept"
        return response

    async def _page_file(self, request: Request) -> Response:
        file = self._page.get(request.path_params["name"])
        return _problem(404, "the page has no such file") if file is None else file.reply(request)

    def _endpoints(self) -> Response:
        endpoints = {
            name: EndpointSummary(
                f"/api/v2/predict/{name}",
                endpoint.decoder.entity,
                {feature: kind.value for feature, kind in endpoint.decoder.kinds.items()},
                {
                    route.version.version: VersionShare(route.weight_bp, len(route.replicas))
                    for route in endpoint.route.versions
                },
            )
            for name, endpoint in self._dispatcher.endpoints.items()
        }
        return _json(msgspec.json.encode(Index(__version__, endpoints, self._house_api.public)))

    async def _api_document(self, request: Request) -> Response:
        return self._api.file().reply(request)

    def _readiness(self) -> Response:
        if self._dispatcher.is_ready:
            # Requests with features are answered without it, so a load balancer must go on sending.
            text = "ready\n" if self._is_store_reachable() else "ready; the online store is not reachable\n"
            return Response(text, media_type="text/plain")
        reason = "a version has no warm replica" if self._dispatcher.endpoints else "nothing is deployed yet"
        return _problem(503, reason)

    def _is_store_reachable(self) -> bool:
        health = self._store_health()
        return health is None or health.is_reachable

    def own_metrics(self) -> Starlette:
        """What this gateway's own port answers instead of the routes above: its own metrics, with the controller's for
        scrapers, without them for its neighbours."""

        async def for_neighbours(request: Request) -> Response:
            return _metrics(self._metrics())

        async def for_scrapers(request: Request) -> Response:
            return _metrics(await self._own_scrape.read())

        return self._starlette([Route(METRICS, for_scrapers), Route(OWN_METRICS, for_neighbours)])

    async def _read_metrics(self, request: Request) -> Response:
        return _metrics(await self._scrape.read())

    async def _of_node(self) -> bytes:
        """The metrics of all gateways of this node."""
        others, rollouts = await asyncio.gather(self._neighbours.read(), self._rollout_metrics())
        has = {number: document is not None for number, document in others.items()} | {self._number: True}
        documents = [self._metrics(), *[document for document in others.values() if document is not None]]
        return exposition.merged(documents) + exposition.answered(has) + rollouts

    async def _of_gateway(self) -> bytes:
        return self._metrics() + await self._rollout_metrics()

    async def _rollout_metrics(self) -> bytes:
        """The controller's metrics; empty while it is away. One of the gateway's metrics tells that it is away."""
        status = _told(self._link.status(), ControllerStatus, rollout_metrics.render)
        drift = _told(self._link.drift(""), DriftReport, drift_metrics.render)
        return b"".join(await asyncio.gather(status, drift))

    async def _status(self, request: Request) -> Response:
        return _json(msgspec.json.encode(await self._read_status()))

    async def _read_status(self) -> dict[str, Any]:
        """The controller's status, with the gateway's own as ``gateway``. Compare its times with ``now_s``."""
        status: dict[str, Any] = msgspec.json.decode(await self._link.status())
        status["gateway"] = msgspec.to_builtins(
            GatewayState(
                self._gateway_id,
                self._dispatcher.epoch,
                __version__,
                self._clock.wall_s(),
                self._is_store_reachable(),
            )
        )
        return status

    async def _drift(self, request: Request) -> Response:
        return _json(await self._link.drift(""))

    async def _drift_of(self, request: Request) -> Response:
        """One endpoint's, with its histograms."""
        report = msgspec.json.decode(await self._link.drift(request.path_params["endpoint"]), type=DriftReport)
        if not report.endpoints:
            raise UnknownVersionError("no drift of that endpoint", remedy="`divisions status` lists what is deployed")
        return _json(msgspec.json.encode(report.endpoints[0]))

    async def _rollouts(self, request: Request) -> Response:
        """Lists them, or starts one."""
        if request.method == "POST":
            return await self._start_rollout(request)
        status = msgspec.json.decode(await self._link.status())
        return _json(msgspec.json.encode({"rollouts": status["rollouts"]}))

    async def _start_rollout(self, request: Request) -> Response:
        force = _FORCE.get(request.query_params.get("force", ""))
        if force is None:
            raise MalformedRequestError("`force` must be true or false", remedy="write ?force=true, or leave it out")
        spec = require_object(await request.body())
        endpoint = spec.get("endpoint")
        for action in (Action.START_ROLLOUT, *([Action.FORCE_ROLLOUT] if force else [])):
            require(request, action, endpoint if isinstance(endpoint, str) else ANY_ENDPOINT)
        started = await self._link.start_rollout(msgspec.json.encode(spec), force, actor_of(request))
        return _json(started, 202)

    async def _rollout(self, request: Request) -> Response:
        endpoint = request.path_params["endpoint"]
        for rollout in msgspec.json.decode(await self._link.status())["rollouts"]:
            if rollout["endpoint"] == endpoint:
                return _json(msgspec.json.encode(rollout))
        raise UnknownVersionError("no rollout of that endpoint", remedy="`divisions status` lists what is deployed")

    async def _scale(self, request: Request) -> Response:
        return await self._send(request, "scale", read_body(await request.body(), ScaleBody))

    async def _command(self, request: Request) -> Response:
        name = request.path_params["command"]
        if name not in COMMANDS:
            return _problem(404, f"no such command; there are {', '.join(COMMANDS)} and scale")
        return await self._send(request, name, read_body(await request.body(), CommandBody))

    async def _send(self, request: Request, name: str, body: CommandBody | ScaleBody) -> Response:
        """Sends a command to the controller."""
        command: dict[str, object] = {
            "endpoint": request.path_params["endpoint"],
            "command": name,
            **msgspec.to_builtins(body),
        }
        match = request.headers.get("if-match")
        if match is not None:
            generation = match.strip('" ')
            if not _GENERATION.fullmatch(generation):
                return _problem(400, "If-Match must be a rollout's generation")
            command["generation"] = int(generation)
        return _json(await self._link.command(msgspec.json.encode(command), actor_of(request)))


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(("/api/v2/predict/", static_files.PREFIX)) or routes.is_open(path)


def _alive() -> Response:
    return Response("ok\n", media_type="text/plain")


def _metrics(text: bytes) -> Response:
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _told(asked: Awaitable[bytes], kind: type[Told], render: Callable[[Told], bytes]) -> bytes:
    """The metrics of an answer; empty without one in time, or if it is none, as an older controller's may be."""
    try:
        return render(msgspec.json.decode(await asyncio.wait_for(asked, SCRAPE_S), type=kind))
    except (DivisionsError, TimeoutError, msgspec.DecodeError) as error:
        log.info("a scrape goes without the controller's %s: %s", kind.__name__, type(error).__name__)
        return b""


def _json(data: bytes, status: int = 200) -> Response:
    return Response(data, status, media_type="application/json")


def _problem(status: int, detail: str, code: str = "") -> Response:
    return Response(problem.body(status, detail, code), status, media_type="application/problem+json")


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.method == "OPTIONS" and (error.status_code == 405 or request.scope["path"] == SERVER):
        return options((error.headers or {}).get("Allow", "GET, HEAD, POST"))
    is_unknown_v2 = error.status_code == 404 and routes.is_open(request.scope["path"])
    response = _problem(error.status_code, routes.NOT_OFFERED if is_unknown_v2 else str(error.detail))
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def _our_problem(request: Request, error: Exception) -> Response:
    status = problem.status_of(error)
    if status >= 500:
        log.error("%s %s failed: %s", request.method, request.url.path, error)
    return _problem(status, problem.detail_of(error), problem.code_of(error))
