"""Whose key is it? For predictions: the tokens of the cluster, and the JWTs of its issuers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from divisions.access.decision import Principal, decide
from divisions.access.roles import Action
from divisions.clock import Clock
from divisions.errors import (
    AccessDeniedError,
    MissingTokenError,
    OverloadedError,
    SettingsError,
    UnknownTokenError,
)
from divisions.settings import Settings
from router.gateway.issuer_file import read_issuers
from router.gateway.issuer_keys import IssuerKeys
from router.gateway.jwks_fetch import JwksFetch
from router.gateway.jwt_book import JwtBook, Kind, Refused, jwt_of
from router.gateway.jwt_memory import JwtMemory
from router.gateway.jwt_queue import JwtQueue
from router.gateway.key_freshness import PAUSE_S
from router.gateway.token_book import TokenBook
from router.predict.callers import KeyBook

log = logging.getLogger(__name__)

WRONG_KEY = "nobody has this key. it may have been revoked or rotated; ask an admin for a new one"


class KeyRing(KeyBook):
    """See the module. Lives on the gateway's event loop.

    Args:
        tokens: of the cluster.
        jwts: what is known of JWTs; None if no issuer is believed.
    """

    def __init__(self, tokens: TokenBook, jwts: JwtMemory | None) -> None:
        self._tokens = tokens
        self.jwts = jwts
        self._queue = JwtQueue(jwts) if jwts is not None else None

    def must_wait(self, authorization: bytes) -> bool:
        token = None if self.jwts is None else jwt_of(authorization)
        return token is not None and self.jwts is not None and self.jwts.known(token) is None

    def check(self, authorization: bytes, address: str, done: Callable[[], None]) -> None:
        token = jwt_of(authorization)
        assert self._queue is not None
        assert token is not None
        self._queue.check(token, address, done)

    def authenticate(self, authorization: bytes) -> Principal | None:
        refused = self._jwt(authorization)
        if isinstance(refused, Principal):
            return refused
        if refused is None:
            try:
                return self._tokens.authenticate(authorization)
            except AccessDeniedError as error:  # it was right, and has expired
                raise UnknownTokenError(str(error)) from None
        match refused.kind:
            case Kind.WRONG:
                return None
            case Kind.NO_ROLE:
                raise AccessDeniedError(refused.reason)
            case Kind.UNREAD:
                raise OverloadedError(refused.reason, retry_after_s=math.ceil(PAUSE_S))

    def why_wrong(self, authorization: bytes) -> str:
        refused = self._jwt(authorization)
        return refused.reason if isinstance(refused, Refused) else WRONG_KEY

    def require_tester(self, authorization: bytes | None, endpoint: str) -> None:
        if authorization is None:
            raise MissingTokenError("x-divisions-version needs a bearer token")
        principal = self.authenticate(authorization)
        if principal is None:
            raise AccessDeniedError("this bearer token may not choose a version")
        decision = decide(principal, Action.TEST_VERSION, endpoint)
        if not decision.is_allowed:
            raise AccessDeniedError(decision.reason)

    def names(self) -> list[str]:
        """Everybody who has a token, or a JWT that is valid now."""
        return [*self._tokens.names(), *(self.jwts.names() if self.jwts is not None else ())]

    def has_ended(self) -> bool:
        """Whether a key may have ended since the last call, or is valid again."""
        return any((self._tokens.has_expired(), self.jwts is not None and self.jwts.has_ended()))

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()

    def _jwt(self, authorization: bytes) -> Principal | Refused | None:
        """What is known of a JWT; None of what is none."""
        token = None if self.jwts is None else jwt_of(authorization)
        return None if token is None or self.jwts is None else self.jwts.known(token)


def memory_of(issuers: tuple[IssuerKeys, ...], clock: Clock) -> JwtMemory | None:
    """What remembers the JWTs of these issuers; None without any."""
    if not issuers:
        return None
    return JwtMemory(JwtBook(issuers, clock.wall_s), clock.monotonic_s, clock.wall_s)


def believed_issuers(settings: Settings, now_s: Callable[[], float]) -> tuple[IssuerKeys, ...]:
    """Whose JWTs are believed: nobody's if their file cannot be read on this node, because predictions go on."""
    try:
        found = read_issuers(settings.oidc_file)
    except SettingsError as error:
        log.error("no JWT is taken: %s", error)
        return ()
    return tuple(IssuerKeys(issuer, JwksFetch(issuer), now_s) for issuer in found)
