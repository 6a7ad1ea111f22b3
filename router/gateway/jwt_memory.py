"""What is known of JWTs that came before, so that each is checked once.

An answer is believed until the JWT ends, or until its issuer's keys change or are too old to be believed. A refusal is
believed for a few seconds: an issuer may show a new key, and clocks go on. Kept are hashes of JWTs, never the JWTs, and
boundedly many. Wrong ones have a place of their own: they push no right one out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from divisions.access.decision import Principal
from router.gateway.jwt_book import Asked, Checked, JwtBook, Refused, jwt_of

MAX_RIGHT: Final = 2_048
MAX_WRONG: Final = 1_024
WRONG_S: Final = 5.0
"""How long a refusal is believed."""


@dataclass(frozen=True, slots=True)
class _Known:
    """``until_s`` is of the wall clock for a principal, and of the monotonic one for a refusal."""

    checked: Checked
    changes: int
    until_s: float


class JwtMemory:
    """See the module. Lives on the gateway's event loop.

    Args:
        book: checks those that are not known.
        now_s: monotonic clock.
        wall_s: the time, in seconds since the Unix epoch.
    """

    def __init__(self, book: JwtBook, now_s: Callable[[], float], wall_s: Callable[[], float]) -> None:
        self.book = book
        self._now_s = now_s
        self._wall_s = wall_s
        self._right: dict[bytes, _Known] = {}
        self._wrong: dict[bytes, _Known] = {}
        self._next_end_s = math.inf
        self._state = self._state_of_keys()
        self._has_changed = False

    def authenticate(self, authorization: bytes) -> Principal | Refused | None:
        """Who sends this ``Authorization`` header, or why they are refused; None if it has no JWT. Checks at once."""
        token = jwt_of(authorization)
        if token is None:
            return None
        known = self.known(token)
        if known is not None:
            return known
        asked = self.book.ask(token)
        checked = self.book.check(asked) if isinstance(asked, Asked) else asked
        self.remember(token, checked)
        return checked.answer

    def known(self, token: bytes) -> Principal | Refused | None:
        """What is known of a JWT; None if it must be checked."""
        digest = _digest(token)
        right = self._right.get(digest)
        if right is not None and self._is_current(right, self._wall_s()):
            return right.checked.answer
        wrong = self._wrong.get(digest)
        return wrong.checked.answer if wrong is not None and self._is_current(wrong, self._now_s()) else None

    def remember(self, token: bytes, checked: Checked) -> None:
        """Keeps what a check has found."""
        digest, changes = _digest(token), checked.keys.changes if checked.keys else 0
        if isinstance(checked.answer, Refused):
            _keep(self._wrong, MAX_WRONG, digest, _Known(checked, changes, self._now_s() + WRONG_S))
            return
        # A request that was let in with one that is pushed out is looked up again: its end would not be noticed.
        self._has_changed |= _keep(self._right, MAX_RIGHT, digest, _Known(checked, changes, checked.ends_s))
        self._next_end_s = min(self._next_end_s, checked.ends_s)

    def names(self) -> list[str]:
        """The principals of JWTs that are valid now."""
        answers = (known.checked.answer for known in self._right.values())
        return [answer.name for answer in answers if isinstance(answer, Principal)]

    def has_ended(self) -> bool:
        """Whether, since the last call, a right JWT may have become a wrong one. Forgets those that have."""
        state, wall_s = self._state_of_keys(), self._wall_s()
        if state == self._state and wall_s < self._next_end_s:
            has_changed, self._has_changed = self._has_changed, False
            return has_changed
        self._state, self._has_changed = state, False
        self._right = {digest: known for digest, known in self._right.items() if self._is_current(known, wall_s)}
        self._next_end_s = min((known.until_s for known in self._right.values()), default=math.inf)
        return True

    def _is_current(self, known: _Known, time_s: float) -> bool:
        keys = known.checked.keys
        if time_s >= known.until_s:
            return False
        if keys is None:
            return True
        # A refusal because keys could not be read ends when they can be.
        is_right = isinstance(known.checked.answer, Principal)
        return keys.changes == known.changes and (keys.are_usable or not is_right)

    def _state_of_keys(self) -> list[tuple[int, bool]]:
        return [(keys.changes, keys.are_usable) for keys in self.book.issuers]


def _keep(known: dict[bytes, _Known], most: int, digest: bytes, new: _Known) -> bool:
    """Adds an answer; returns whether the oldest one had to go."""
    known.pop(digest, None)
    known[digest] = new
    if len(known) <= most:
        return False
    del known[next(iter(known))]
    return True


def _digest(token: bytes) -> bytes:
    return hashlib.blake2b(token, digest_size=32).digest()
