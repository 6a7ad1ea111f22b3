"""Whose JWT is it? Checks bearer JWTs of the issuers that `DIVISIONS_OIDC_FILE` names.

The token chooses nothing but its issuer and its key among those that we have read ourselves. Which algorithms it may
have is the issuer's entry in the file; addresses and keys that a token carries (`jku`, `x5u`, `jwk`, `x5c`) are not
even read. PyJWT checks the signature, `divisions.access.claims` what the claims say.

Each request is checked anew, for 0.06 to 0.1 ms of processor time: so a JWT ends with its `exp`, and with its key.
"""

from __future__ import annotations

import base64
import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from divisions.access.claims import principal_of, refusal
from divisions.access.decision import Principal
from router.gateway.issuer_keys import IssuerKeys, Missing
from router.gateway.key_freshness import PAUSE_S

MAX_TOKEN_BYTES: Final = 8_192
_JWT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

NO_ROLE: Final = "no rule gives whom this JWT names a role here. ask an admin for a group that has one"
UNREAD: Final = "the keys of this JWT's issuer cannot be read now, so it cannot be checked. try again, or use a token"
UNKNOWN_KEY: Final = f"this JWT's key is not known. if its issuer has just changed keys, try again in {PAUSE_S:g} s"
_MALFORMED: Final = "this is no JWT that can be read"
_ISSUER: Final = "this JWT is of an issuer that is not trusted here"
_ALGORITHM: Final = "this JWT's algorithm is not one that its issuer may use here"
_SIGNATURE: Final = "this JWT's signature is wrong"


class Kind(enum.Enum):
    """What a refusal is: the token is wrong; it is right, but has no role; it cannot be checked now."""

    WRONG = "wrong"
    NO_ROLE = "no role"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a JWT does not let its sender in."""

    kind: Kind
    reason: str


class _Header(msgspec.Struct):
    """All that is read of a token's header."""

    alg: str
    kid: str = ""
    crit: Any = None


class JwtBook:
    """See the module.

    Args:
        issuers: the keys of each issuer that is believed.
        wall_s: the time, in seconds since the Unix epoch.
    """

    def __init__(self, issuers: Sequence[IssuerKeys], wall_s: Callable[[], float]) -> None:
        self._by_issuer = {keys.issuer.issuer: keys for keys in issuers}
        self._wall_s = wall_s

    def authenticate(self, authorization: bytes) -> Principal | Refused | None:
        """Who sends this ``Authorization`` header, or why they are refused; None if it has no JWT."""
        scheme, _, token = authorization.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not _JWT.fullmatch(token):
            return None
        if len(token) > MAX_TOKEN_BYTES:
            return Refused(Kind.WRONG, f"this JWT has more than {MAX_TOKEN_BYTES:,} bytes")
        return self._check(token)

    def _check(self, token: bytes) -> Principal | Refused:
        head, payload, _ = token.split(b".")
        try:
            header = msgspec.json.decode(_decoded(head), type=_Header)
            named = msgspec.json.decode(_decoded(payload), type=dict[str, Any]).get("iss")
        except (ValueError, RecursionError):
            return Refused(Kind.WRONG, _MALFORMED)
        keys = self._by_issuer.get(named) if isinstance(named, str) else None
        if keys is None:
            return Refused(Kind.WRONG, _ISSUER)
        if header.alg not in keys.issuer.algorithms:
            return Refused(Kind.WRONG, _ALGORITHM)
        if header.crit is not None:
            return Refused(Kind.WRONG, _MALFORMED)
        key = keys.find(header.kid, header.alg)
        if key is Missing.UNREAD:
            return Refused(Kind.UNREAD, UNREAD)
        if isinstance(key, Missing):
            return Refused(Kind.WRONG, UNKNOWN_KEY)
        claims = _signed_claims(token, key, header.alg)
        if claims is None:
            return Refused(Kind.WRONG, _SIGNATURE)
        if reason := refusal(claims, keys.issuer, self._wall_s()):
            return Refused(Kind.WRONG, reason)
        return principal_of(claims, keys.issuer) or Refused(Kind.NO_ROLE, NO_ROLE)


def _signed_claims(token: bytes, key: Any, algorithm: str) -> dict[str, Any] | None:
    """The claims, from the very bytes whose signature is right; None if it is not."""
    from jwt import PyJWS, PyJWTError

    try:
        found = PyJWS(algorithms=[algorithm]).decode_complete(token, key, algorithms=[algorithm])
        claims = msgspec.json.decode(found["payload"], type=dict[str, Any])
    except (PyJWTError, ValueError, RecursionError):
        return None
    return claims


def _decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
