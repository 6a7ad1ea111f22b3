"""What the claims of a JWT say: is it valid now and here, and whose is it? Its signature was checked before. Pure."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from divisions.access.decision import Principal
from divisions.access.issuers import Issuer, RoleRule

LEEWAY_S: Final = 30.0
"""How far the clocks of issuer and gateway may differ."""
MAX_SUBJECT_CHARS: Final = 80
_DIGEST_CHARS: Final = 16
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._@:/|+=-]")


def refusal(claims: Mapping[str, Any], issuer: Issuer, now_s: float) -> str:
    """Why this JWT is not valid for us now; empty if it is.

    Args:
        claims: of a JWT that the issuer has signed.
        issuer: whose name they have.
        now_s: wall clock.
    """
    if claims.get("iss") != issuer.issuer:
        return "this JWT is of an issuer that is not trusted here. send one of an issuer of DIVISIONS_OIDC_FILE"
    if not _is_for(claims.get("aud"), issuer.audience):
        return "this JWT is for another audience. ask its issuer for one with the audience that this cluster expects"
    expires_s, begins_s = _time(claims.get("exp")), _time(claims.get("nbf", 0))
    if expires_s is None:
        return "this JWT does not say when it expires (`exp`). have its issuer put it in"
    if begins_s is None:
        return "this JWT's `nbf` is no time. have its issuer mend it"
    if now_s >= expires_s + LEEWAY_S:
        return "this JWT has expired. get another one from its issuer"
    if now_s < begins_s - LEEWAY_S:
        return "this JWT is not valid yet (`nbf`). check the clocks of its issuer and of this cluster"
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        return "this JWT does not say whose it is (`sub`). have its issuer put it in"
    return ""


def ends_s(claims: Mapping[str, Any]) -> float:
    """When claims that were not refused end, by the wall clock."""
    expires_s = _time(claims.get("exp"))
    return LEEWAY_S + (0.0 if expires_s is None else expires_s)


def _is_for(audience: Any, ours: str) -> bool:
    return audience == ours if isinstance(audience, str) else isinstance(audience, list) and ours in audience


def _time(value: Any) -> float | None:
    """A time of the wall clock; None for what is none. ``True`` is no number here, and neither is infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def principal_of(claims: Mapping[str, Any], issuer: Issuer) -> Principal | None:
    """Who has these claims; None if no rule gives them a role.

    The first rule that fits gives the role, and the limits. Further rules with the same role add their endpoints.
    """
    found = _values(claims, issuer.claim_path)
    fitting = [rule for rule in issuer.roles if rule.value in found]
    if not fitting:
        return None
    role = fitting[0].role
    return Principal(
        name_of(issuer.alias, claims["sub"]),
        role,
        _endpoints([rule for rule in fitting if rule.role is role]),
        issuer=issuer.alias,
        limits=fitting[0].limits,
    )


def _values(claims: Mapping[str, Any], path: tuple[str, ...]) -> frozenset[str]:
    """The texts of a claim: one, or a list of them. Whatever else it is, it says nothing."""
    value: Any = claims
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return frozenset({value})
    return frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else frozenset()


def _endpoints(rules: list[RoleRule]) -> tuple[str, ...]:
    """Of all rules together; one without endpoints means every endpoint, and so do they all."""
    if not all(rule.endpoints for rule in rules):
        return ()
    return tuple(dict.fromkeys(endpoint for rule in rules for endpoint in rule.endpoints))


def name_of(alias: str, subject: str) -> str:
    """The principal's name: bounded, of characters that are safe in logs, and of one subject only.

    >>> name_of("corp", "ann@example.com")
    'corp:ann@example.com'
    >>> name_of("corp", "ann\\nadmin: ok")
    'corp:ann_admin:_ok~ebd4f764f70d0e94'

    A subject that is not safe as it is, or too long, gets a part of its hash: two subjects never have one name.
    """
    safe = _UNSAFE.sub("_", subject)
    if safe == subject and len(subject) <= MAX_SUBJECT_CHARS:
        return f"{alias}:{subject}"
    digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{alias}:{safe[: MAX_SUBJECT_CHARS - _DIGEST_CHARS - 1]}~{digest}"
