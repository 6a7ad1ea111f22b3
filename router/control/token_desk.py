"""Creates, lists, rotates and revokes tokens for the controller, and has gateways told at once."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable

import msgspec

from divisions.access import tokens
from divisions.access.requests import Actor, TokenAnswer, TokenCommand, row
from divisions.access.store import TokenStore
from divisions.access.tokens import AccessList
from divisions.clock import Clock
from divisions.errors import DivisionsError, InvalidCommandError, TokensUnavailableError

log = logging.getLogger(__name__)

NOTE_S = 60.0
"""How often the last uses of tokens are written down. A crash loses no more of them."""


class TokenDesk:
    """See the module.

    Args:
        store: keeps the list. While it cannot be read, nobody but the home's own token is known.
        clock: the time.
        publish: tells gateways the list. Called once from the constructor.
        randomness: so many random bytes.
    """

    def __init__(
        self,
        store: TokenStore,
        clock: Clock,
        publish: Callable[[AccessList], None],
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._clock = clock
        self._publish = publish
        self._randomness = randomness
        self._used_s: dict[str, float] = {}
        self._noted_s = clock.monotonic_s()
        self._known = AccessList()
        try:
            self._known = store.load()
        except TokensUnavailableError as error:
            log.error("%s", error)
        publish(self._known)

    def carry_out(self, command: TokenCommand, actor: Actor) -> TokenAnswer:
        """Raises:
        InvalidCommandError: it makes no sense.
        ConflictError: the name has a token.
        UnknownPrincipalError: the name has none.
        TokensUnavailableError: the list cannot be read or written, and nothing has changed.
        """
        if command.verb == "list":
            return self._answer(self._store.load())
        token = ""

        def edit(known: AccessList) -> AccessList:
            nonlocal token
            known = msgspec.structs.replace(self._noted(known), lineage=known.lineage or self._randomness(8).hex())
            after, token = self._edited(known, command, actor)
            return after

        self._known = self._store.change(edit)
        self._publish(self._known)
        name = command.new.name if command.new else command.name
        return self._answer(self._known, name, token)

    def _edited(self, known: AccessList, command: TokenCommand, actor: Actor) -> tuple[AccessList, str]:
        now_s = self._clock.wall_s()
        some = self._randomness(tokens.random_bytes_needed())
        match command.verb, command.new:
            case "create", new if new is not None:
                return tokens.create(
                    known,
                    new.name,
                    new.role,
                    new.endpoints,
                    new.days,
                    by=actor.name,
                    now_s=now_s,
                    randomness=some,
                    limits=new.limits,
                )
            case "rotate", _:
                return tokens.rotate(known, command.name, by=actor.name, now_s=now_s, randomness=some)
            case "revoke", _:
                return tokens.revoke(known, command.name), ""
            case _:
                raise InvalidCommandError("that is nothing to do with tokens", remedy="use a client of this release")

    def _answer(self, known: AccessList, name: str = "", token: str = "") -> TokenAnswer:
        found = self._noted(known).tokens
        return TokenAnswer(tuple(row(record) for record in found if name in {"", record.name}), token)

    def used(self, token_ids: Iterable[str]) -> None:
        """Gateways have just let these in."""
        now_s = self._clock.wall_s()
        self._used_s.update((token_id, now_s) for token_id in token_ids)

    def note_uses(self) -> None:
        """Writes down when tokens were last used, now and then. A list that cannot be written is tried again."""
        now_s = self._clock.monotonic_s()
        if now_s - self._noted_s < NOTE_S or not self._used_s:
            return
        self._noted_s = now_s
        try:
            # The serial stays: no right has changed, and gateways need not know.
            self._known = self._store.change(self._noted)
        except DivisionsError as error:
            log.warning("the last uses of tokens could not be written: %s", error)
        else:
            self._used_s.clear()

    def _noted(self, known: AccessList) -> AccessList:
        used = self._used_s
        if not any(record.token_id in used for record in known.tokens):
            return known
        changed = (
            msgspec.structs.replace(record, last_used_s=max(record.last_used_s, used.get(record.token_id, 0.0)))
            for record in known.tokens
        )
        return msgspec.structs.replace(known, tokens=tuple(changed))
