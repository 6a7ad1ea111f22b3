"""Tokens of named principals: how one looks, what is kept of it, and the list of all. Pure: randomness is an argument.

A token is ``dvn_<id>_<secret>``. The id finds its record, and is no secret. The secret has 256 random bits; kept is
only a keyed hash of it (BLAKE2b, with a random salt of the token's own as the key). A slow hash, as for passwords,
would be wrong here: it makes guessing a *short* secret expensive. Nobody guesses 256 bits, and a gateway that spends
a tenth of a second on each wrong token is easily kept busy. The salt makes equal secrets look different, and a table
that was computed beforehand useless.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

import msgspec

from divisions.access.decision import Principal
from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.roles import Role
from divisions.errors import ConflictError, InvalidCommandError, UnknownPrincipalError
from divisions.names import NAME_RULE, is_name

ID_BYTES: Final = 5
SECRET_BYTES: Final = 32
SALT_BYTES: Final = 16
MAX_TOKENS: Final = 2_000
MAX_DAYS: Final = 3_650
OWNER: Final = "admin"
"""The principal of the home's own token. No other has this name."""
_TOKEN: Final = re.compile(rb"dvn_([a-z2-7]{8})_([A-Za-z0-9_-]{43})")
_NOBODY_SALT: Final = b"\x00" * SALT_BYTES


class TokenRecord(msgspec.Struct, frozen=True):
    """What is kept of a token. ``endpoints`` empty means every one. Times are of the wall clock."""

    token_id: str
    name: str
    role: Role
    salt: bytes
    digest: bytes
    created_s: float
    created_by: str
    expires_s: float
    endpoints: tuple[str, ...] = ()
    last_used_s: float = 0.0
    limits: Limits = NO_LIMITS

    @property
    def principal(self) -> Principal:
        return Principal(self.name, self.role, self.endpoints, self.token_id, limits=self.limits)


class AccessList(msgspec.Struct, frozen=True):
    """Every valid token. ``lineage`` is random, and ``serial`` rises with each change of rights: gateways take a list
    of another lineage, or a newer one of theirs."""

    lineage: str = ""
    serial: int = 0
    tokens: tuple[TokenRecord, ...] = ()

    @property
    def stamp(self) -> str:
        return f"{self.lineage}:{self.serial}"

    def is_newer_than(self, other: AccessList) -> bool:
        return self.lineage != other.lineage or self.serial > other.serial


def random_bytes_needed() -> int:
    """How much randomness `create` and `rotate` take."""
    return ID_BYTES + SECRET_BYTES + SALT_BYTES


def digest_of(secret: bytes, salt: bytes) -> bytes:
    return hashlib.blake2b(secret, key=salt, digest_size=32).digest()


def split(token: bytes) -> tuple[str, bytes] | None:
    """The id and the secret of what looks like a token."""
    found = _TOKEN.fullmatch(token)
    return None if found is None else (found[1].decode(), found[2])


def holds(record: TokenRecord | None, secret: bytes) -> bool:
    """Whether the secret is the record's. It takes as long without a record."""
    salt = _NOBODY_SALT if record is None else record.salt
    expected = b"\x00" * 32 if record is None else record.digest
    return hmac.compare_digest(digest_of(secret, salt), expected) and record is not None


def create(
    known: AccessList,
    name: str,
    role: Role,
    endpoints: tuple[str, ...],
    days: float,
    *,
    by: str,
    now_s: float,
    randomness: bytes,
    limits: Limits = NO_LIMITS,
) -> tuple[AccessList, str]:
    """Adds a token for a new name.

    Returns:
        The list with it, and the token itself, which is nowhere else.

    Raises:
        InvalidCommandError: the name, an endpoint or the time makes no sense.
        ConflictError: the name has a token, or there are too many.
    """
    _check(name, endpoints, days)
    living = without_expired(known, now_s)
    if any(record.name == name for record in living.tokens):
        raise ConflictError(f"{name} has a token", remedy="`divisions tokens rotate` replaces it, `revoke` ends it")
    if len(living.tokens) >= MAX_TOKENS:
        raise ConflictError(f"there are {MAX_TOKENS:,} tokens", remedy="revoke those that nobody uses")
    record, token = _new(name, role, endpoints, now_s, now_s + days * 86_400, by, randomness, limits)
    return _changed(living, (*living.tokens, record)), token


def rotate(known: AccessList, name: str, *, by: str, now_s: float, randomness: bytes) -> tuple[AccessList, str]:
    """Replaces a name's token by a new one with the same rights and the same time to live. The old one ends at once.

    Raises:
        UnknownPrincipalError: the name has none.
    """
    old = find(known, name)
    life_s = old.expires_s - old.created_s
    record, token = _new(name, old.role, old.endpoints, now_s, now_s + life_s, by, randomness, old.limits)
    others = tuple(each for each in known.tokens if each.name != name)
    return _changed(known, (*others, record)), token


def revoke(known: AccessList, name: str) -> AccessList:
    """The list without a name's token.

    Raises:
        UnknownPrincipalError: the name has none.
    """
    find(known, name)
    return _changed(known, tuple(each for each in known.tokens if each.name != name))


def find(known: AccessList, name: str) -> TokenRecord:
    """Raises:
    UnknownPrincipalError: the name has no token.
    """
    found = next((record for record in known.tokens if record.name == name), None)
    if found is None:
        raise UnknownPrincipalError("nobody of that name has a token", remedy="`divisions tokens list` shows all")
    return found


def without_expired(known: AccessList, now_s: float) -> AccessList:
    return msgspec.structs.replace(known, tokens=tuple(each for each in known.tokens if each.expires_s > now_s))


def _check(name: str, endpoints: tuple[str, ...], days: float) -> None:
    if not is_name(name) or name == OWNER:
        raise InvalidCommandError(
            f"that is no name for a principal: names are {NAME_RULE}, and not {OWNER!r}", remedy="write it like 'ci'"
        )
    if not all(is_name(endpoint) for endpoint in endpoints):
        raise InvalidCommandError(f"that is no endpoint's name: names are {NAME_RULE}", remedy="write it like 'churn'")
    if not 0 < days <= MAX_DAYS:
        raise InvalidCommandError(f"a token lives up to {MAX_DAYS:,} days", remedy="write it like 90d")


def _new(
    name: str,
    role: Role,
    endpoints: tuple[str, ...],
    now_s: float,
    expires_s: float,
    by: str,
    randomness: bytes,
    limits: Limits,
) -> tuple[TokenRecord, str]:
    assert len(randomness) == random_bytes_needed()
    token_id = base64.b32encode(randomness[:ID_BYTES]).decode().lower()
    salt = randomness[ID_BYTES : ID_BYTES + SALT_BYTES]
    secret = base64.urlsafe_b64encode(randomness[ID_BYTES + SALT_BYTES :]).rstrip(b"=")
    record = TokenRecord(
        token_id,
        name,
        role,
        salt,
        digest_of(secret, salt),
        now_s,
        by,
        expires_s,
        tuple(dict.fromkeys(endpoints)),
        limits=limits,
    )
    return record, f"dvn_{token_id}_{secret.decode()}"


def _changed(known: AccessList, tokens: tuple[TokenRecord, ...]) -> AccessList:
    return msgspec.structs.replace(known, serial=known.serial + 1, tokens=tokens)
