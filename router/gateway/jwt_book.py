"""Whose JWT is it? Checks bearer JWTs of the issuers that `DIVISIONS_OIDC_FILE` names.

The token chooses nothing but its issuer and its key among those that we have read ourselves. Which algorithms it may
have is the issuer's entry in the file; addresses and keys that a token carries (`jku`, `x5u`, `jwk`, `x5c`) are not
even read. PyJWT checks the signature, `divisions.access.claims` what the claims say.

A check takes 0.06 to 0.1 ms of processor time. `router.gateway.jwt_memory` remembers what came of it.
"""

from __future__ import annotations

import base64
import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from divisions.access.claims import ends_s, principal_of, refusal
from divisions.access.decision import Principal
from router.gateway.issuer_keys import IssuerKeys, Missing
from router.gateway.key_freshness import PAUSE_S

MAX_TOKEN_BYTES: Final = 8_192
_JWT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

NO_ROLE: Final = "no rule gives whom this JWT names a role here. ask an admin for a group that has one"
UNREAD: Final = "the keys of this JWT's issuer cannot be read now, so it cannot be checked. try again, or use a token"
UNKNOWN_KEY: Final = f"this JWT's key is not known. if its issuer has just changed keys, try again in {PAUSE_S:g} s"
_MALFORMED: Final = "this is no JWT that can be read. copy it again, whole"
_ISSUER: Final = "this JWT is of an issuer that is not trusted here. send one of an issuer of DIVISIONS_OIDC_FILE"
_ALGORITHM: Final = "this JWT's algorithm is not one that its issuer may use here. see `algorithms` of its file"
_SIGNATURE: Final = "this JWT's signature is wrong. get another one from its issuer"


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


@dataclass(frozen=True, slots=True)
class Asked:
    """A JWT whose issuer and key are known, and whose signature is to be checked."""

    token: bytes
    keys: IssuerKeys
    key: Any
    algorithm: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a JWT is. ``ends_s`` is when a right one ends, by the wall clock; ``keys`` are its issuer's, if that is
    known."""

    answer: Principal | Refused
    keys: IssuerKeys | None = None
    ends_s: float = 0.0


class JwtBook:
    """See the module.

    Args:
        issuers: the keys of each issuer that is believed.
        wall_s: the time, in seconds since the Unix epoch.
    """

    def __init__(self, issuers: Sequence[IssuerKeys], wall_s: Callable[[], float]) -> None:
        self._by_issuer = {keys.issuer.issuer: keys for keys in issuers}
        self._wall_s = wall_s

    @property
    def issuers(self) -> list[IssuerKeys]:
        return list(self._by_issuer.values())

    def ask(self, token: bytes) -> Asked | Checked:
        """Finds a JWT's issuer and key, or why there is none. Call it on the gateway's event loop."""
        if len(token) > MAX_TOKEN_BYTES:
            return _wrong(f"this JWT has more than {MAX_TOKEN_BYTES:,} bytes")
        head, payload, _ = token.split(b".")
        try:
            header = msgspec.json.decode(_decoded(head), type=_Header)
            named = msgspec.json.decode(_decoded(payload), type=dict[str, Any]).get("iss")
        except (ValueError, RecursionError):
            return _wrong(_MALFORMED)
        keys = self._by_issuer.get(named) if isinstance(named, str) else None
        if keys is None:
            return _wrong(_ISSUER)
        if header.alg not in keys.issuer.algorithms:
            return _wrong(_ALGORITHM)
        if header.crit is not None:
            return _wrong(_MALFORMED)
        key = keys.find(header.kid, header.alg)
        if key is Missing.UNREAD:
            return Checked(Refused(Kind.UNREAD, UNREAD), keys)
        if isinstance(key, Missing):
            return _wrong(UNKNOWN_KEY, keys)
        return Asked(token, keys, key, header.alg)

    def check(self, asked: Asked) -> Checked:
        """Checks the signature and the claims. Any thread may."""
        keys = asked.keys
        claims = _signed_claims(asked.token, asked.key, asked.algorithm)
        if claims is None:
            return _wrong(_SIGNATURE, keys)
        if reason := refusal(claims, keys.issuer, self._wall_s()):
            return _wrong(reason, keys)
        principal = principal_of(claims, keys.issuer)
        return Checked(principal or Refused(Kind.NO_ROLE, NO_ROLE), keys, ends_s(claims))


def jwt_of(authorization: bytes) -> bytes | None:
    """The JWT of an ``Authorization`` header; None if it has none."""
    scheme, _, token = authorization.partition(b" ")
    token = token.strip()
    return token if scheme.lower() == b"bearer" and _JWT.fullmatch(token) else None


def _wrong(reason: str, keys: IssuerKeys | None = None) -> Checked:
    return Checked(Refused(Kind.WRONG, reason), keys)


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
