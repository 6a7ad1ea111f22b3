"""Lets requests to the control API in: who asks, may they, and how often may an address guess."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from divisions.access.decision import Principal, decide
from divisions.access.requests import Actor
from divisions.access.roles import Action, Role
from divisions.errors import AccessDeniedError, MissingTokenError, UnknownTokenError
from divisions.names import is_name
from divisions.traces.parent import parent_of
from router.gateway.jwt_book import Kind, Refused
from router.gateway.jwt_memory import JwtMemory
from router.gateway.key_freshness import PAUSE_S
from router.gateway.refused_counts import RefusedCounts
from router.gateway.route_actions import asked_for, has_route
from router.gateway.token_book import TokenBook
from router.http import problem
from router.http.wrong_tokens import WrongTokens

NO_TOKEN = (
    "this needs a bearer token: that of the cluster's owner is in the file `token` of its home, others come from "
    "`divisions tokens create`"
)
NO_ROUTE = "there is no such path here. /openapi.json lists those that there are"
"""No secret, so it needs no token."""
_PRINCIPAL = "principal"
_COUNT = "count refused"
_UNCHECKED = 503
"""Of a JWT that could not be checked: no decision was made."""


class Guard:
    """See the module. It keeps who asks with the request; `actor_of` and `require` find it there.

    Args:
        book: knows tokens.
        now_s: monotonic clock.
        jwts: knows JWTs; None if no issuer is believed.
        open_paths: what may be read without a token, by the settings. Who sends one is judged by it there, too.
    """

    def __init__(
        self,
        book: TokenBook,
        now_s: Callable[[], float],
        jwts: JwtMemory | None = None,
        open_paths: Collection[str] = (),
    ) -> None:
        self._book = book
        self._jwts = jwts
        self._open_paths = frozenset(open_paths)
        self._now_s = now_s
        self._wrong = WrongTokens()
        self.refused = RefusedCounts()
        """What was refused, for the audit log."""

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The reply to a request that may not be; None for one that may."""
        scope.setdefault("state", {})[_COUNT] = self._count
        found = self._refusal(scope, headers)
        if found is not None and found.status_code != _UNCHECKED:
            asked = asked_for(scope["method"], scope["path"])
            self._count(scope, asked.action.value if asked else "", asked.endpoint if asked else "", found.status_code)
        return found

    def _count(self, scope: Scope, action: str, endpoint: str, status: int) -> None:
        principal = scope["state"].get(_PRINCIPAL)
        who, role = (principal.name, principal.role.value) if principal is not None else ("", "")
        # A name that is none is a caller's text, and has no place in the log.
        subject = endpoint if is_name(endpoint) else ""
        self.refused.add(self._now_s(), who, role, address_of(scope), action or "unknown route", subject, status)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        authorization = headers.get("authorization")
        if authorization is None and scope["method"] in {"GET", "HEAD"} and scope["path"] in self._open_paths:
            return None
        if authorization is None and not has_route(scope["path"]):
            return _refused(404, NO_ROUTE, "")
        address = address_of(scope)
        try:
            principal = self._authenticate((authorization or "").encode("latin-1", "replace"))
        except AccessDeniedError as error:
            return _refused(401, str(error), UnknownTokenError.__name__)  # it was right, and has expired
        if isinstance(principal, Refused):
            return self._refused_jwt(principal, address)
        if principal is None:
            return self._unknown(address, has_token=authorization is not None)
        scope.setdefault("state", {})[_PRINCIPAL] = principal
        asked = asked_for(scope["method"], scope["path"])
        if asked is None:
            # No route, or one that nobody has given an action. An admin is told by the application.
            if principal.role is Role.ADMIN:
                return None
            if not has_route(scope["path"]):
                return _refused(404, NO_ROUTE, "")
            return _refused(403, "only admins may ask for what no rule knows", "")
        decision = decide(principal, asked.action, asked.endpoint)
        return None if decision.is_allowed else _refused(403, decision.reason, "AccessDeniedError")

    def still_lets_in(self, scope: Scope) -> bool:
        """Whether a long reply to a request that was let in may go on: the token has not ended, and allows it still."""
        asked = asked_for(scope["method"], scope["path"])
        if not has_principal(scope) or asked is None:
            return True
        try:
            principal = self._authenticate(Headers(scope=scope).get("authorization", "").encode("latin-1", "replace"))
        except AccessDeniedError:
            return False
        return isinstance(principal, Principal) and decide(principal, asked.action, asked.endpoint).is_allowed

    def _authenticate(self, authorization: bytes) -> Principal | Refused | None:
        principal = self._book.authenticate(authorization)
        if principal is not None or self._jwts is None:
            return principal
        return self._jwts.authenticate(authorization)

    def _refused_jwt(self, refused: Refused, address: str) -> Response:
        match refused.kind:
            case Kind.NO_ROLE:
                return _refused(403, refused.reason, "AccessDeniedError")
            case Kind.UNREAD:
                reply = _refused(503, refused.reason, "")
                reply.headers["retry-after"] = str(math.ceil(PAUSE_S))
                return reply
            case Kind.WRONG:
                return self._unknown(address, refused.reason, challenge='Bearer error="invalid_token"')

    def _unknown(
        self, address: str, reason: str = NO_TOKEN, *, has_token: bool = True, challenge: str = "Bearer"
    ) -> Response:
        wait_s = self._wrong.wait_s(address, self._now_s()) if has_token else 0.0
        if wait_s:
            reply = _refused(429, "too many wrong tokens from this address. wait, and check the token", "")
            reply.headers["retry-after"] = str(math.ceil(wait_s))
            return reply
        kind = UnknownTokenError if has_token else MissingTokenError
        reply = _refused(401, reason, kind.__name__)
        reply.headers["www-authenticate"] = challenge
        return reply


def has_principal(scope: Scope) -> bool:
    """Whether a request that was let in has a token."""
    return _PRINCIPAL in scope.get("state", {})


def address_of(scope: Scope) -> str:
    """The caller's address; empty if it is not known."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def actor_of(request: Request) -> Actor:
    """Who sent a request that was let in."""
    parents = request.headers.getlist("traceparent")
    parent = parent_of(parents[0]) if len(parents) == 1 else None
    return Actor.of(_principal_of(request), address_of(request.scope), parent.text if parent is not None else "")


def require(request: Request, action: Action, endpoint: str) -> None:
    """Checks what only the body of a request tells.

    Raises:
        AccessDeniedError: the sender may not.
    """
    decision = decide(_principal_of(request), action, endpoint)
    if not decision.is_allowed:
        request.scope["state"][_COUNT](request.scope, action.value, endpoint, 403)
        raise AccessDeniedError(decision.reason)


def _principal_of(request: Request) -> Principal:
    principal = request.scope["state"][_PRINCIPAL]
    assert isinstance(principal, Principal)
    return principal


def _refused(status: int, detail: str, code: str) -> Response:
    return Response(problem.body(status, detail, code), status, media_type="application/problem+json")
