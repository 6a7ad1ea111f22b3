"""Whose token is it? What one gateway knows of tokens: the home's own, and the list that the controller publishes."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from divisions.access.decision import Principal
from divisions.access.requests import OWNER_PRINCIPAL
from divisions.access.tokens import OWNER, AccessList, TokenRecord, holds, split
from divisions.errors import AccessDeniedError

EXPIRED = "this token has expired. ask an admin for another one: `divisions tokens rotate NAME`"


class TokenBook:
    """See the module.

    Args:
        owner_token: the home's own token, whose principal is an admin.
        wall_s: the time, in seconds since the Unix epoch.
    """

    def __init__(self, owner_token: str, wall_s: Callable[[], float]) -> None:
        self._owner = owner_token.encode()
        self._wall_s = wall_s
        self._list = AccessList()
        self._by_id: dict[str, TokenRecord] = {}
        self._used: set[str] = set()
        self._ended: frozenset[str] = frozenset()

    @property
    def stamp(self) -> str:
        """Of the list that is in force."""
        return self._list.stamp

    def take(self, access: AccessList) -> bool:
        """Puts a list in force, if it is a newer one. What is not in it is revoked from now on.

        Returns:
            Whether it was newer.
        """
        is_newer = access.is_newer_than(self._list)
        if is_newer:
            self._list = access
            self._by_id = {record.token_id: record for record in access.tokens}
            self._ended = self._expired()
        return is_newer

    def names(self) -> list[str]:
        """Everybody who has a token, or had one that has expired."""
        return [OWNER, *(record.name for record in self._list.tokens)]

    def has_expired(self) -> bool:
        """Whether a token has expired since the last call, or is valid again: the clock may be set back."""
        before, self._ended = self._ended, self._expired()
        return before != self._ended

    def _expired(self) -> frozenset[str]:
        now_s = self._wall_s()
        return frozenset(record.token_id for record in self._list.tokens if record.expires_s <= now_s)

    def take_used(self) -> tuple[str, ...]:
        """The ids of tokens that were used since the last call."""
        used, self._used = self._used, set()
        return tuple(sorted(used))

    def authenticate(self, authorization: bytes) -> Principal | None:
        """Who sends this ``Authorization`` header; None if nobody is known by it.

        Raises:
            AccessDeniedError: the token was right, and has expired.
        """
        scheme, _, given = authorization.partition(b" ")
        given = given.strip()
        if scheme.lower() != b"bearer":
            return None
        if hmac.compare_digest(given, self._owner):
            return OWNER_PRINCIPAL
        parts = split(given)
        if parts is None:
            return None
        token_id, secret = parts
        record = self._by_id.get(token_id)
        if not holds(record, secret) or record is None:
            return None
        if record.expires_s <= self._wall_s():
            raise AccessDeniedError(EXPIRED)
        self._used.add(token_id)
        return record.principal
