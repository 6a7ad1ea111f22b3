"""``GET /api/v2/house``: the whole house as one document, from memory. Without a token, what is public."""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from router.gateway.guard import has_principal
from router.gateway.house_copy import ALL, HouseCopy
from router.http.static_files import StaticFile

PATH = "/api/v2/house"
EVERYTHING = "all"


class HouseApi:
    """See the module.

    Args:
        copy: has the sections.
        public: the sections that need no token, by the settings.
    """

    def __init__(self, copy: HouseCopy, public: Collection[str]) -> None:
        self._copy = copy
        self._public = ALL if EVERYTHING in public else frozenset(public) & ALL

    @property
    def public(self) -> tuple[str, ...]:
        return tuple(sorted(self._public))

    def routes(self) -> list[Route]:
        return [Route(PATH, self._house, methods=["GET"])]

    def seen_by(self, scope: Scope) -> frozenset[str]:
        """The sections that the sender of a request may see: all with a token, for `Guard` has looked at its rights."""
        return ALL if has_principal(scope) else self._public

    async def _house(self, request: Request) -> Response:
        await self._copy.refresh()
        names = self.seen_by(request.scope)
        return StaticFile(self._copy.document(names), "application/json", self._copy.etag(names)).reply(request)
