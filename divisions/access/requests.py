"""What callers ask of the tokens, and what they are told, as structs between command line, gateway and controller."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from divisions.access.decision import Principal
from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.roles import Role
from divisions.access.tokens import MAX_DAYS, OWNER, TokenRecord
from divisions.names import MAX_NAME_CHARS

MAX_ENDPOINTS: Final = 100
_NAME: Final = r"[a-z0-9](?:\.?[a-z0-9_-])*\.?$"
"""`divisions.names.is_name` as JSON schemas say it; `divisions.access.tokens` checks it once more."""
_Endpoint = Annotated[str, msgspec.Meta(pattern=f"^{_NAME}", max_length=MAX_NAME_CHARS)]


class Actor(msgspec.Struct, frozen=True):
    """Who asks, and from where. The default is a caller inside the cluster, who has Ray's own token."""

    name: str = "operator"
    role: str = Role.ADMIN.value
    address: str = ""
    endpoints: tuple[str, ...] = ()
    """Those that the token is for; empty means every endpoint."""
    traceparent: str = ""
    """The span that the request belongs to; empty if it named none that is valid."""

    @staticmethod
    def of(principal: Principal, address: str, traceparent: str = "") -> Actor:
        return Actor(principal.name, principal.role.value, address, principal.endpoints, traceparent)


OWNER_PRINCIPAL = Principal(OWNER, Role.ADMIN)


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to create. ``endpoints`` empty means every endpoint."""

    name: Annotated[str, msgspec.Meta(pattern=f"^(?!{OWNER}$){_NAME}", max_length=MAX_NAME_CHARS)]
    role: Role
    endpoints: Annotated[tuple[_Endpoint, ...], msgspec.Meta(max_length=MAX_ENDPOINTS)] = ()
    days: Annotated[float, msgspec.Meta(gt=0, le=MAX_DAYS)] = 90.0
    limits: Limits = NO_LIMITS


class TokenCommand(msgspec.Struct, frozen=True):
    """What the gateway sends to the controller. ``new`` is for ``create``, ``name`` for ``rotate`` and ``revoke``."""

    verb: Literal["list", "create", "rotate", "revoke"]
    name: str = ""
    new: NewToken | None = None


class TokenRow(msgspec.Struct, frozen=True):
    """What is shown of a token. ``last_used_s`` 0 means never."""

    name: str
    role: Role
    endpoints: tuple[str, ...]
    created_s: float
    created_by: str
    expires_s: float
    last_used_s: float = 0.0
    limits: Limits = NO_LIMITS


class TokenAnswer(msgspec.Struct, frozen=True):
    """``token`` is the new token, shown this once; empty where there is none."""

    tokens: tuple[TokenRow, ...] = ()
    token: str = ""


def row(record: TokenRecord) -> TokenRow:
    return TokenRow(
        record.name,
        record.role,
        record.endpoints,
        record.created_s,
        record.created_by,
        record.expires_s,
        record.last_used_s,
        record.limits,
    )
