"""JWTs that wait for their first check, which a thread does, so that the event loop goes on.

The queue is bounded, also for each address, and after wrong JWTs the thread pauses. So whoever sends ever new ones
takes a tenth of a processor at most, and only its own places in the queue. Right ones cost no pause: when an issuer's
keys change, all JWTs come for a new check at once. No check waits for an issuer: its keys are here, or the JWT is
refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from divisions.errors import LimitReachedError, OverloadedError
from router.gateway.jwt_book import Asked, Checked, JwtBook, Kind, Refused
from router.gateway.jwt_memory import JwtMemory
from router.http.wrong_tokens import network_of

log = logging.getLogger(__name__)

MAX_WAITING: Final = 512
MAX_OF_ADDRESS: Final = 128
MAX_BATCH: Final = 32
"""JWTs that the thread checks before the requests of these go on."""
PAUSE_OF_WRONG_S: Final = 0.001
"""After a wrong one, before the next batch; a check takes up to 0.1 ms."""
RETRY_S: Final = 1.0
_REMEDY: Final = "try again; a JWT that was checked before passes at once"

Done = Callable[[], None]


class JwtQueue:
    """See the module. Lives on the gateway's event loop.

    Args:
        memory: is told what the checks have found.
    """

    def __init__(self, memory: JwtMemory) -> None:
        self._memory = memory
        self._waiting: list[tuple[Asked, str]] = []
        """Those that no thread checks yet, with the network of who sent them first."""
        self._done: dict[bytes, list[Done]] = {}
        """By token: who is to be told."""
        self._of_address: Counter[str] = Counter()
        """JWTs that wait, by network."""
        self._task: asyncio.Task[None] | None = None

    def check(self, token: bytes, address: str, done: Done) -> None:
        """Has a JWT checked. ``done`` is called when the memory knows it: at once where no signature has to be checked.

        Raises:
            OverloadedError: as many as possible wait, of this address or of all.
        """
        is_new, network = token not in self._done, network_of(address)
        asked = self._memory.book.ask(token) if is_new else None
        if isinstance(asked, Checked):
            self._memory.remember(token, asked)
            done()
            return
        if asked is not None:
            self._check_room(network)
            self._of_address[network] += 1
            self._waiting.append((asked, network))
        self._done.setdefault(token, []).append(done)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _check_room(self, network: str) -> None:
        if self._of_address[network] >= MAX_OF_ADDRESS:
            message = f"{MAX_OF_ADDRESS} new JWTs wait for their check, and all come from this address"
            raise LimitReachedError(message, remedy=_REMEDY, retry_after_s=RETRY_S)
        if self._of_address.total() >= MAX_WAITING:
            raise OverloadedError("too many new JWTs wait for their check", remedy=_REMEDY, retry_after_s=RETRY_S)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                found = await asyncio.to_thread(_check, self._memory.book, [asked for asked, _ in batch])
                for (asked, network), checked in zip(batch, found, strict=True):
                    self._of_address[network] -= 1
                    self._found(asked.token, checked)
                self._of_address += Counter()  # drops those that have none
                num_wrong = sum(isinstance(checked.answer, Refused) for checked in found)
                if num_wrong:
                    await asyncio.sleep(PAUSE_OF_WRONG_S * num_wrong)
        finally:
            self._task = None

    def _found(self, token: bytes, checked: Checked) -> None:
        self._memory.remember(token, checked)
        for done in self._done.pop(token, ()):
            try:
                done()
            except Exception:  # One request's fault must not cost the others their answer.
                log.exception("a request could not be handled after its JWT was checked")


def _check(book: JwtBook, batch: Sequence[Asked]) -> list[Checked]:
    return [_one(book, asked) for asked in batch]


def _one(book: JwtBook, asked: Asked) -> Checked:
    try:
        return book.check(asked)
    except Exception:  # The edge of a loop: what nobody foresaw in one JWT must not end the checks of others.
        log.exception("a JWT could not be checked")
        return Checked(Refused(Kind.WRONG, "this JWT cannot be checked"), asked.keys)
