"""Saves what changes all the time in turns, so that a controller that restarts goes on with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Source(Protocol):
    has_news: bool
    """Whether something is worth saving at once. Saving takes it back."""


async def keep(
    source: Source, state: Callable[[], T], write: Callable[[T], None], what: str, *, turns: int, turn_s: float
) -> None:
    """Saves for ever: every ``turns`` turns, and at the next one when there is news.

    Args:
        source: what is saved.
        state: takes its state, on the event loop.
        write: saves a state, in a thread.
        what: its name, for the log.
        turns: from one time to the next.
        turn_s: length of a turn, seconds.
    """
    waited = 0
    while True:
        await asyncio.sleep(turn_s)
        waited += 1
        if waited < turns and not source.has_news:
            continue
        waited, source.has_news = 0, False
        try:
            await asyncio.to_thread(write, state())
        except Exception:  # The edge of a loop: the next turn tries again.
            log.exception("%s could not be saved", what)
