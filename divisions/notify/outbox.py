"""What waits to be told, and what was told: a plain value, saved whole by `divisions.notify.notifier`. Pure.

A notice is sent before it is noted as told. A process that dies in between sends it again, with the same key.
"""

from __future__ import annotations

from typing import Final

import msgspec

from divisions.notice import Notice
from divisions.notify.retry import OLDEST_S

MOST_WAITING: Final = 100
MOST_TOLD: Final = 2_000
REMEMBERED_S: Final = 2 * 86_400.0
"""Longer than anything is found again: transitions of the last hour, runs of the last day."""


class Outbox(msgspec.Struct, frozen=True):
    """``told`` are keys with the time of their notice, oldest first."""

    waiting: tuple[Notice, ...] = ()
    told: dict[str, float] = {}  # msgspec copies it

    def knows(self, key: str) -> bool:
        return key in self.told or any(notice.key == key for notice in self.waiting)


def added(box: Outbox, notice: Notice) -> tuple[Outbox, int]:
    """The box with the notice, once; and how many old ones had to go for it."""
    if box.knows(notice.key):
        return box, 0
    waiting = (*box.waiting, notice)
    return msgspec.structs.replace(box, waiting=waiting[-MOST_WAITING:]), max(len(waiting) - MOST_WAITING, 0)


def told(box: Outbox, notice: Notice, now_s: float) -> Outbox:
    """The box after a notice was sent or given up: it never comes again."""
    known = {key: at_s for key, at_s in box.told.items() if now_s - at_s <= REMEMBERED_S}
    known[notice.key] = max(notice.at_s, now_s)
    newest = dict(list(known.items())[-MOST_TOLD:])
    return Outbox(tuple(each for each in box.waiting if each.key != notice.key), newest)


def fresh(box: Outbox, now_s: float) -> tuple[Outbox, int]:
    """The box without what has waited too long; and how many that were."""
    stale = [notice for notice in box.waiting if now_s - notice.at_s > OLDEST_S]
    for notice in stale:
        box = told(box, notice, now_s)
    return box, len(stale)
