"""The times of a trigger, as seconds since the epoch. Pure.

Over a change of clocks, a fixed time ("30 2 * * *") runs once a day: one that does not exist runs at the end of the
gap, and one that exists twice runs the first time. A trigger whose minute or hour begins with ``*`` goes by elapsed
time, as in Debian's cron. `cronsim` has these rules.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from divisions.pipeline.trigger import Cron

_FIRST_WINDOW_S = 3_600.0


def next_fire_s(cron: Cron, after_s: float) -> float | None:
    """The first time after ``after_s``; None if there is none.

    >>> next_fire_s(Cron("0 2 * * *"), 0.0)
    7200.0
    """
    zone = UTC if cron.zone == "UTC" else ZoneInfo(cron.zone)
    for fire in CronSim(cron.expression, datetime.fromtimestamp(after_s, zone)):
        fire_s = fire.timestamp()
        if fire_s > after_s:  # of a time that exists twice, the first one is before a start between the two
            return fire_s
    return None


def newest_fires(cron: Cron, after_s: float, until_s: float, most: int) -> tuple[float, ...]:
    """The newest times in ``(after_s, until_s]``, oldest first, at most ``most``.

    The look-back doubles until there are enough, because a trigger of every minute has half a million times a year.
    """
    window_s = _FIRST_WINDOW_S
    while True:
        start_s = max(after_s, until_s - window_s)
        found = _fires(cron, start_s, until_s)
        if len(found) >= most or start_s <= after_s:
            return tuple(found[-most:])
        window_s *= 2


def _fires(cron: Cron, after_s: float, until_s: float) -> list[float]:
    found = []
    fire_s = next_fire_s(cron, after_s) if after_s < until_s else None
    while fire_s is not None and fire_s <= until_s:
        found.append(fire_s)
        fire_s = next_fire_s(cron, fire_s)
    return found
