"""What callers ask of the tokens, and what they are told, as structs between command line, gateway and controller."""

from __future__ import annotations

from typing import Literal

import msgspec

from divisions.access.decision import Principal
from divisions.access.roles import Role
from divisions.access.tokens import OWNER, TokenRecord


class Actor(msgspec.Struct, frozen=True):
    """Who asks, and from where. The default is a caller inside the cluster, who has Ray's own token."""

    name: str = "operator"
    role: str = Role.ADMIN.value
    address: str = ""

    @staticmethod
    def of(principal: Principal, address: str) -> Actor:
        return Actor(principal.name, principal.role.value, address)


OWNER_PRINCIPAL = Principal(OWNER, Role.ADMIN)


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to create. ``endpoints`` empty means every endpoint."""

    name: str
    role: Role
    endpoints: tuple[str, ...] = ()
    days: float = 90.0


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
    )
