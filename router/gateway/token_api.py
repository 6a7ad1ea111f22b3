"""The routes of tokens. Only admins reach them, see `router.gateway.guard`, except for `GET …/self`. The controller
carries out."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from divisions.access.requests import NewToken, TokenCommand
from router.gateway.control_body import read_body
from router.gateway.guard import actor_of
from router.http import problem
from router.predict.controller_link import ControllerLink

PATH = "/api/v2/tokens"


class TokenApi:
    """See the module."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def routes(self) -> list[Route]:
        return [
            Route(PATH, self._tokens, methods=["GET", "POST"]),
            Route(PATH + "/self", self._self, methods=["GET"]),
            Route(PATH + "/{name}/{verb}", self._change, methods=["POST"]),
        ]

    async def _tokens(self, request: Request) -> Response:
        """Lists them, or creates one."""
        if request.method == "POST":
            return await self._send(request, TokenCommand("create", new=read_body(await request.body(), NewToken)))
        return await self._send(request, TokenCommand("list"))

    async def _self(self, request: Request) -> Response:
        """Whose token the caller has."""
        return Response(msgspec.json.encode(actor_of(request)), media_type="application/json")

    async def _change(self, request: Request) -> Response:
        name, verb = request.path_params["name"], request.path_params["verb"]
        if verb not in {"rotate", "revoke"}:
            body = problem.body(404, "no such command; there are rotate and revoke")
            return Response(body, 404, media_type="application/problem+json")
        return await self._send(request, TokenCommand(verb, name))

    async def _send(self, request: Request, command: TokenCommand) -> Response:
        answer = await self._link.manage_tokens(command, actor_of(request))
        return Response(answer, media_type="application/json")
