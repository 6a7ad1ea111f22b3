"""A JSON Web Key Set (RFC 7517): the public keys in it that can check a signature. Pure.

Only the members that make up a public key are taken, and only keys of sizes that are safe and quick to check. A key
that we cannot use is skipped, as RFC 7517 asks for; a set that is none is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
_CURVES: Final[Mapping[str, tuple[str, ...]]] = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_RSA_CHARS: Final = (342, 1_366)
"""Of a modulus in base64: 2,048 to 8,192 bits. A shorter one is not safe, a longer one makes each check slow."""
_MAX_EXPONENT_CHARS: Final = 6
"""Of a public exponent: 32 bits. 65,537 is the one that is used."""
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]{1,2000}")


class MalformedKeysError(Exception):
    """What came is no set of keys."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """``members`` are those of the public key alone. ``algorithms`` are what it may check."""

    kid: str
    algorithms: tuple[str, ...]
    members: tuple[tuple[str, str], ...]


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


def public_keys(data: bytes) -> tuple[PublicKey, ...]:
    """The usable keys of a set.

    Raises:
        MalformedKeysError: it is too large, is none, or has no usable key.
    """
    if len(data) > MAX_BYTES:
        raise MalformedKeysError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        found = msgspec.json.decode(data, type=_Set).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedKeysError("it is no JSON Web Key Set") from None
    if len(found) > MAX_KEYS:
        raise MalformedKeysError(f"it has {len(found):,} keys; at most {MAX_KEYS} are taken")
    keys = tuple(key for each in found if (key := _public_key(each)) is not None)
    if not keys:
        raise MalformedKeysError("it has no key that can check a signature")
    return keys


def _public_key(jwk: Mapping[str, Any]) -> PublicKey | None:
    kind, kid = jwk.get("kty"), jwk.get("kid", "")
    names = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if names is None or not isinstance(kid, str) or not _is_for_checking(jwk):
        return None
    values = [jwk.get(name) for name in names]
    if not all(isinstance(value, str) and _BASE64.fullmatch(value) for value in values):
        return None
    algorithms = _algorithms(kind, {name: str(value) for name, value in zip(names, values, strict=True)})
    named = jwk.get("alg")
    if named is not None:
        algorithms = tuple(each for each in algorithms if each == named)
    members = (("kty", str(kind)), *((name, str(value)) for name, value in zip(names, values, strict=True)))
    return PublicKey(kid, algorithms, members) if algorithms else None


def _is_for_checking(jwk: Mapping[str, Any]) -> bool:
    operations = jwk.get("key_ops")
    return jwk.get("use", "sig") == "sig" and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )


def _algorithms(kind: Any, members: Mapping[str, str]) -> tuple[str, ...]:
    match kind:
        case "RSA":
            is_fit = _RSA_CHARS[0] <= len(members["n"].lstrip("A")) <= _RSA_CHARS[1]
            return _RSA if is_fit and len(members["e"]) <= _MAX_EXPONENT_CHARS else ()
        case "EC":
            return _CURVES.get(members["crv"], ())
        case _:
            return ("EdDSA",) if members["crv"] == "Ed25519" else ()
