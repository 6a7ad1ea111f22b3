"""The routes of approvals; the controller carries out. `router.gateway.guard` has let the sender in by their role."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from divisions.access.roles import Action
from divisions.promotion import ApprovalCommand, NewApproval, RevokedApproval
from router.gateway.control_body import read_body
from router.gateway.guard import actor_of, require
from router.predict.controller_link import ControllerLink

PATH = "/api/v2/approvals"


class ApprovalApi:
    """See the module."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def routes(self) -> list[Route]:
        return [
            Route(PATH, self._approvals, methods=["GET", "POST"]),
            Route(PATH + "/revoke", self._revoke, methods=["POST"]),
        ]

    async def _approvals(self, request: Request) -> Response:
        """Lists them, or approves a version."""
        if request.method != "POST":
            return await self._send(request, ApprovalCommand("list"))
        body = read_body(await request.body(), NewApproval)
        require(request, Action.APPROVE, body.endpoint)
        return await self._send(request, ApprovalCommand("approve", approve=body))

    async def _revoke(self, request: Request) -> Response:
        body = read_body(await request.body(), RevokedApproval)
        require(request, Action.APPROVE, body.endpoint)
        return await self._send(request, ApprovalCommand("revoke", revoke=body))

    async def _send(self, request: Request, command: ApprovalCommand) -> Response:
        answer = await self._link.manage_approvals(command, actor_of(request))
        return Response(answer, media_type="application/json")
