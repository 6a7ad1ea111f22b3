"""Whose JWTs are believed, and which rights they give: the issuers of `DIVISIONS_OIDC_FILE`. Pure.

What decides how a token is checked is here, and never in the token: its algorithms, its keys, its audience.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from divisions.access.limits import Limits, read_limits
from divisions.access.roles import Role
from divisions.errors import SettingsError, UsageError
from divisions.names import NAME_RULE, is_name

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What an issuer may sign with. None has a secret that both sides know: who could check could also sign."""
MAX_ISSUERS: Final = 16
MAX_RULES: Final = 1_000
MAX_ALIAS_CHARS: Final = 32
MAX_CHARS: Final = 1_000
REMEDY: Final = "see docs/oidc.md for an example"


class RoleRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose claim has this ``value`` gets ``role``, on ``endpoints`` only if it names some. ``rate``, ``concurrency``
    and ``deadline`` limit what each of them may ask of predictions, written as for tokens."""

    value: str
    role: Role
    endpoints: tuple[str, ...] = ()
    rate: str = ""
    concurrency: str = ""
    deadline: str = ""

    @property
    def limits(self) -> Limits:
        """Raises:
        UsageError: one of them cannot be read.
        """
        if self.concurrency and not re.fullmatch(r"[1-9][0-9]{0,5}", self.concurrency):
            raise UsageError("a `concurrency` is no number of requests at once", remedy="write it like 8")
        return read_limits(self.rate, int(self.concurrency or "0"), self.deadline)


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One issuer, its keys, and what its claims mean.

    ``claim`` is a claim's name, or the way to one inside of others. ``ca_file`` has the authorities for the address of
    the keys; ``token_file`` a bearer token that this address asks for.
    """

    alias: str
    issuer: str
    audience: str
    jwks: str
    claim: str | tuple[str, ...]
    roles: tuple[RoleRule, ...]
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    ca_file: str = ""
    token_file: str = ""

    @property
    def claim_path(self) -> tuple[str, ...]:
        return (self.claim,) if isinstance(self.claim, str) else self.claim


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issuers: tuple[Issuer, ...]


def issuers_of(document: Any) -> tuple[Issuer, ...]:
    """The issuers that a file names.

    Args:
        document: mappings, lists and texts.

    Raises:
        SettingsError: something in it makes no sense, or is not safe.
    """
    try:
        issuers = msgspec.convert(document, type=_Document).issuers
    except msgspec.ValidationError as error:
        roles = f"; a role is one of {', '.join(Role)}" if "enum value" in str(error) else ""
        raise _wrong(str(error)[:300] + roles) from None
    if not 0 < len(issuers) <= MAX_ISSUERS:
        raise _wrong(f"it names {len(issuers)} issuers; 1 to {MAX_ISSUERS} are possible")
    for issuer in issuers:
        if fault := _fault(issuer):
            raise _wrong(f"issuer {issuer.alias[:MAX_ALIAS_CHARS]!r}: {fault}")
    for what in ("alias", "issuer"):
        if len({getattr(issuer, what) for issuer in issuers}) < len(issuers):
            raise _wrong(f"two issuers have the same `{what}`")
    return issuers


def _fault(issuer: Issuer) -> str:
    """What is wrong with one; empty if nothing is."""
    if not is_name(issuer.alias) or len(issuer.alias) > MAX_ALIAS_CHARS:
        return f"`alias` must be a name of up to {MAX_ALIAS_CHARS} characters: {NAME_RULE}"
    for what in ("issuer", "audience", "jwks"):
        if not 0 < len(getattr(issuer, what)) <= MAX_CHARS:
            return f"`{what}` must have 1 to {MAX_CHARS} characters"
    unknown = [each for each in issuer.algorithms if each not in ALGORITHMS]
    if unknown or not issuer.algorithms:
        return f"`algorithms` may be {', '.join(ALGORITHMS)}; the public key checks them, and nothing else may"
    if not issuer.claim_path or not all(issuer.claim_path):
        return "`claim` must name a claim"
    if not 0 < len(issuer.roles) <= MAX_RULES:
        return f"`roles` must have 1 to {MAX_RULES} rules"
    if not all(rule.value for rule in issuer.roles):
        return "a rule's `value` is empty"
    if not all(is_name(endpoint) for rule in issuer.roles for endpoint in rule.endpoints):
        return f"an endpoint of a rule is no name: {NAME_RULE}"
    try:
        for rule in issuer.roles:
            _ = rule.limits
    except UsageError as error:
        return f"a rule's limit: {error}"
    if not all(path.startswith("/") for path in (issuer.ca_file, issuer.token_file) if path):
        return "`ca_file` and `token_file` must be absolute paths"
    return _fault_of_address(issuer.jwks)


def _fault_of_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "`jwks` is no URL"
    if not host or re.search(r"[^\x21-\x7e]", url) or parts.username is not None or parts.fragment:
        return "`jwks` must be a URL with a host, without a user, a password or a `#`"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return ""
    return "`jwks` must begin with https:// (http:// on the loopback address only): whoever changes keys is everybody"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"the file of DIVISIONS_OIDC_FILE cannot be used: {what}", remedy=REMEDY)
