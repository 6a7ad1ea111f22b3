"""When a pipeline runs by itself: ``schedule: 0 2 * * *``, or a section with a time zone.

    trigger: "schedule: 0 2 * * *"      # five cron fields, in UTC

    trigger:
      schedule: "30 2 * * MON-FRI"
      zone: Europe/Berlin
      catch_up: all

Every function raises `PipelineError` without a position. The caller adds it.
"""

from __future__ import annotations

import difflib
import enum
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime

from divisions.errors import PipelineError

MAX_CHARS = 200
_MAX_ZONE_CHARS = 64
_EXAMPLE = "write it like 'schedule: 0 2 * * *' (minute, hour, day of month, month, day of week; UTC)"
_ANY_TIME = datetime(2025, 1, 1, tzinfo=UTC)


class CatchUp(enum.StrEnum):
    """What happens to the times at which no run could start: no cluster was up, or the run before still went on."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Cron:
    """Five cron fields in a time zone (IANA's name)."""

    expression: str
    zone: str = "UTC"
    catch_up: CatchUp = CatchUp.LAST

    def __str__(self) -> str:
        return self.expression if self.zone == "UTC" else f"{self.expression} {self.zone}"


def parse_trigger(text: str) -> Cron:
    """``schedule: 0 2 * * *``."""
    kind, colon, expression = text.partition(":")
    if kind.strip() != "schedule" or not colon:
        raise PipelineError(f"{_short(text)} is not a trigger", remedy=_EXAMPLE)
    return Cron(parse_expression(expression))


def parse_expression(text: str) -> str:
    """Five cron fields, with one blank between them."""
    from cronsim import CronSim, CronSimError

    expression = text.strip()
    fields = expression.split()
    if len(fields) != 5 or len(text) > MAX_CHARS:
        raise PipelineError(f"{_short(expression)} has {len(fields)} cron fields instead of 5", remedy=_EXAMPLE)
    try:
        first = next(CronSim(" ".join(fields), _ANY_TIME), None)
    except (CronSimError, ValueError, AssertionError) as error:
        if _is_cron(" ".join([*fields[:3], "*", fields[4]])) and _is_cron(f"0 0 1 {fields[3]} *"):
            first = None  # only the day does not fit the months
        else:
            reason = str(error).lower() or "bad field"
            raise PipelineError(f"{_short(expression)} is not a cron expression: {reason}", remedy=_EXAMPLE) from None
    if first is None:
        raise PipelineError(f"{_short(expression)} never comes", remedy="choose a day that one of its months has")
    return " ".join(fields)


def _is_cron(expression: str) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(expression, _ANY_TIME)
    except (CronSimError, ValueError, AssertionError):
        return False
    return True


def parse_zone(text: str) -> str:
    """A time zone by its name, such as ``Europe/Berlin``."""
    remedy = "write a name of the IANA database, such as Europe/Berlin; without a zone it is UTC"
    if len(text) > _MAX_ZONE_CHARS or not text.isprintable():
        raise PipelineError(f"{_short(text)} is not a time zone", remedy=remedy)
    try:
        zoneinfo.ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        near = difflib.get_close_matches(text, zoneinfo.available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else remedy
        raise PipelineError(f"{_short(text)} is not a time zone", remedy=hint) from None
    return text


def _short(text: str) -> str:
    """Quotes a text for an error; invisible characters are escaped."""
    return repr(text[:60] + "…" if len(text) > 60 else text)
