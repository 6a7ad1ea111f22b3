"""Where the list of tokens is kept, as its one writer sees it, and how it is written down. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from divisions.access.tokens import AccessList
from divisions.errors import TokensUnavailableError

FORMAT = 1


class TokenStore(Protocol):
    """Keeps the list. Two controllers may have it at once, so every change reads it first, under a lock."""

    def load(self) -> AccessList:
        """Raises:
        TokensUnavailableError: it cannot be read now, or is damaged.
        """
        ...

    def change(self, edit: Callable[[AccessList], AccessList]) -> AccessList:
        """Replaces the list by ``edit`` of it, whole or not at all. It is durable when this returns.

        Raises:
            TokensUnavailableError: nothing has changed.
        """
        ...


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the list is written down. ``format`` tells later releases which one this is."""

    format: int
    access: AccessList


def encode(access: AccessList) -> bytes:
    return msgspec.json.encode(Document(FORMAT, access))


def decode(data: bytes, place: str) -> AccessList:
    """Raises:
    TokensUnavailableError: it is damaged, or a later release wrote it.
    """
    try:
        found = msgspec.json.decode(data, type=Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TokensUnavailableError(
            f"the tokens in {place} are damaged: {error}",
            remedy="bring back a copy, or move it away and create all tokens anew; the home's own token is not in it",
        ) from None
    if found.format != FORMAT:
        raise TokensUnavailableError(
            f"the tokens in {place} have format {found.format}, this release reads {FORMAT}",
            remedy="use the release that wrote them, or a later one",
        )
    return found.access
