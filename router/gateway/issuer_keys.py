"""The public keys of one issuer, read in the background. Requests only look them up, and never wait for the issuer."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from divisions.access.issuers import Issuer
from divisions.access.jwks import MalformedKeysError, PublicKey, public_keys
from router.gateway.jwks_fetch import KeysUnreadError
from router.gateway.key_freshness import KeyFreshness

if TYPE_CHECKING:  # only gateways with issuers load it
    from jwt import PyJWK

log = logging.getLogger(__name__)

_UNEXPECTED_S: Final = 1.0


class Missing(enum.Enum):
    """Why there is no key."""

    UNKNOWN = "the issuer does not have it, as far as we know"
    UNREAD = "the issuer's keys could not be read for too long"


class IssuerKeys:
    """See the module. Lives on the gateway's event loop.

    Args:
        issuer: whose keys they are.
        fetch: reads the set of keys, in bounded time; raises `KeysUnreadError`.
        now_s: monotonic clock.
    """

    def __init__(self, issuer: Issuer, fetch: Callable[[], Awaitable[bytes]], now_s: Callable[[], float]) -> None:
        self.issuer = issuer
        self._fetch = fetch
        self._now_s = now_s
        self._freshness = KeyFreshness()
        self._public: tuple[PublicKey, ...] = ()
        self._keys: dict[tuple[str, str], PyJWK] = {}
        """By key id and algorithm. The id is empty where an algorithm has one key only: then a JWT need name none."""
        self._asked = asyncio.Event()
        self._is_away = False
        self.changes = 0
        """How often the keys have changed."""

    @property
    def are_usable(self) -> bool:
        """Whether they were read, and not too long ago."""
        return self._freshness.is_usable(self._now_s())

    def find(self, kid: str, algorithm: str) -> PyJWK | Missing:
        """The key that a JWT names. One that is not known is looked for in the background."""
        if not self.are_usable:
            return Missing.UNREAD
        key = self._keys.get((kid, algorithm))
        if key is not None:
            return key
        self._freshness.ask()
        self._asked.set()
        return Missing.UNKNOWN

    async def keep(self) -> None:
        """Reads the keys again and again, for ever."""
        while True:
            self._asked.clear()
            try:
                if await self.turn():
                    continue
                async with asyncio.timeout(self._freshness.wait_s(self._now_s())):
                    await self._asked.wait()
                # At once after a question would be too early; the next turn says when.
                await asyncio.sleep(self._freshness.wait_s(self._now_s()))
            except TimeoutError:
                continue
            except Exception:  # The edge of a loop: without it, no key would ever be read again.
                log.exception("the keys of issuer %s could not be read", self.issuer.alias)
                await asyncio.sleep(_UNEXPECTED_S)

    async def turn(self) -> bool:
        """Reads the keys if that is due; returns whether it was."""
        now_s = self._now_s()
        if self._freshness.wait_s(now_s) > 0:
            return False
        self._freshness.tried(now_s)
        try:
            public = public_keys(await self._fetch())
            if public != self._public:
                self._keys = await asyncio.to_thread(_usable, public, self.issuer.algorithms)
                self._public = public
                self.changes += 1
        except (KeysUnreadError, MalformedKeysError) as error:
            self._note_away(str(error))
            return True
        self._freshness.read()
        self._note_back()
        return True

    def _note_away(self, why: str) -> None:
        if not self._is_away:
            alias = self.issuer.alias
            log.warning("the keys of issuer %s cannot be read; going on by those that are known: %s", alias, why)
        self._is_away = True

    def _note_back(self) -> None:
        if self._is_away:
            log.info("the keys of issuer %s can be read again", self.issuer.alias)
        self._is_away = False


def _usable(public: tuple[PublicKey, ...], algorithms: tuple[str, ...]) -> dict[tuple[str, str], PyJWK]:
    """The keys by id and algorithm, of those algorithms that the issuer may use.

    Raises:
        MalformedKeysError: there is none.
    """
    from jwt import PyJWK, PyJWTError

    found: dict[tuple[str, str], PyJWK] = {}
    for algorithm in algorithms:
        fitting: list[PyJWK] = []
        for key in public:
            if algorithm not in key.algorithms:
                continue
            try:
                made = PyJWK(dict(key.members), algorithm)
            except (PyJWTError, ValueError):  # such as a point that is not on its curve
                continue
            fitting.append(made)
            if key.kid:
                found.setdefault((key.kid, algorithm), made)
        if len(fitting) == 1:
            found["", algorithm] = fitting[0]
    if not found:
        raise MalformedKeysError(f"it has no usable key for {', '.join(algorithms)}")
    return found
