"""May this principal do that? Pure; the one place where it is decided.

An engine of policies can stand beside it later: whatever decides takes a principal, an action and a resource, and
gives a `Decision`.
"""

from __future__ import annotations

from dataclasses import dataclass

from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.roles import PER_ENDPOINT, RIGHTS, Action, Role, roles_with

ANY_ENDPOINT = ""
"""The resource of an action whose endpoint is not known yet: the role decides, and the endpoint is asked for again."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whose identity was proven. ``endpoints`` limits what they may do; empty means every endpoint."""

    name: str
    role: Role
    endpoints: tuple[str, ...] = ()
    token_id: str = ""
    """Which of the cluster's tokens proved it; empty for the home's own."""
    issuer: str = ""
    """By whose JWT it was proven; empty for tokens of the cluster."""
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Decision:
    """``reason`` says why not, and how to get it; empty if it is allowed."""

    is_allowed: bool
    reason: str = ""


ALLOWED = Decision(True)


def decide(principal: Principal, action: Action, endpoint: str = ANY_ENDPOINT) -> Decision:
    """Denies by default.

    >>> decide(Principal("ann", Role.VIEWER), Action.READ).is_allowed
    True
    >>> print(decide(Principal("ann", Role.VIEWER), Action.PROMOTE, "churn").reason.partition(". ")[0])
    ann is viewer, and may not promote; the roles approver and admin may
    """
    if action not in RIGHTS[principal.role]:
        return Decision(False, _missing_role(principal, action))
    if action in PER_ENDPOINT and endpoint and principal.endpoints and endpoint not in principal.endpoints:
        allowed = ", ".join(principal.endpoints)
        how = (
            f"a group of `{principal.issuer}` that may do it here, or a rule for one of yours"
            if principal.issuer
            else f"a token for this endpoint: `divisions tokens create NAME --role {principal.role.value} "
            "--endpoint ENDPOINT`"
        )
        return Decision(False, f"{principal.name} may {action.value} on {allowed} only. ask an admin for {how}")
    return ALLOWED


def _missing_role(principal: Principal, action: Action) -> str:
    roles = roles_with(action)
    if not roles:
        return f"{principal.name} may not {action.value}: no role may"
    names = " and ".join(role.value for role in roles) if len(roles) < 3 else ", ".join(role.value for role in roles)
    may = f"the role {names} may" if len(roles) == 1 else f"the roles {names} may"
    one = "it" if len(roles) == 1 else "one of them"
    how = (
        f"a group of `{principal.issuer}` that has {one}"
        if principal.issuer
        else f"a token with {one}: `divisions tokens create NAME --role {roles[0].value}`"
    )
    return f"{principal.name} is {principal.role.value}, and may not {action.value}; {may}. ask an admin for {how}"
