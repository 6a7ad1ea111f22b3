"""What a scrape of ``/metrics`` answers: made once a second at most, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

KEPT_S = 1.0


class Scrape:
    """The latest document. All who ask while one is being made get that one.

    Args:
        make: makes a document.
        now_s: monotonic clock.
    """

    def __init__(self, make: Callable[[], Awaitable[bytes]], now_s: Callable[[], float]) -> None:
        self._make = make
        self._now_s = now_s
        self._making: asyncio.Task[bytes] | None = None
        self._made = b""
        self._until_s = now_s()

    async def read(self) -> bytes:
        """Raises what making it raised."""
        if self._making is None:
            if self._now_s() < self._until_s:
                return self._made
            self._making = asyncio.get_running_loop().create_task(self._renew())
        # A caller that leaves must not take the document from the others.
        return await asyncio.shield(self._making)

    async def _renew(self) -> bytes:
        begun_s = (
            self._now_s()
        )  # Kept from here on: a document is as old as its counts, however long others let it wait.
        try:
            self._made = await self._make()
            self._until_s = begun_s + KEPT_S
            return self._made
        finally:
            self._making = None
