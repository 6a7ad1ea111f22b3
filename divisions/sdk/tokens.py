"""Tokens of named principals, over a client whose own token is an admin's, but for `Tokens.self`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.requests import Actor, NewToken, TokenAnswer, TokenRow
from divisions.access.roles import Role
from divisions.errors import UsageError
from divisions.names import is_name
from divisions.sdk.calls import Call, reader
from divisions.sdk.client import Client

_PATH = "/api/v2/tokens"


class Tokens:
    """See the module."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> tuple[TokenRow, ...]:
        """Who has a token."""
        return self._client._send(Call("GET", _PATH, reader(TokenAnswer))).tokens

    def self(self) -> Actor:
        """Whose token the client has; anybody who may read may ask."""
        return self._client._send(Call("GET", _PATH + "/self", reader(Actor)))

    def create(
        self,
        name: str,
        role: Role,
        *,
        endpoints: Sequence[str] = (),
        days: float = 90.0,
        limits: Limits = NO_LIMITS,
    ) -> TokenAnswer:
        """Creates a token. The answer has it, and nothing else ever does.

        Args:
            name: of whoever gets it. It stands in the history of what they do.
            role: what they may do, see docs/policy.md.
            endpoints: where they may do it; empty means everywhere.
            days: how long.
            limits: of the predictions that they ask for, see docs/limits.md.

        Raises:
            InvalidCommandError: the name, an endpoint or the time makes no sense.
            ConflictError: the name has a token.
        """
        body = msgspec.json.encode(NewToken(name, role, tuple(endpoints), days, limits))
        return self._client._send(Call("POST", _PATH, reader(TokenAnswer), body))

    def rotate(self, name: str) -> TokenAnswer:
        """Replaces a token by a new one; the old one ends at once.

        Raises:
            UnknownPrincipalError: the name has none.
        """
        return self._change(name, "rotate")

    def revoke(self, name: str) -> None:
        """Ends a token, on every gateway at once.

        Raises:
            UnknownPrincipalError: the name has none.
        """
        self._change(name, "revoke")

    def _change(self, name: str, verb: str) -> TokenAnswer:
        if not is_name(name):
            raise UsageError(f"{name[:64]!r} is no principal's name", remedy="`divisions tokens list` shows all")
        return self._client._send(Call("POST", f"{_PATH}/{name}/{verb}", reader(TokenAnswer), b"{}"))
