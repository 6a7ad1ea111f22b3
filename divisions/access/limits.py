"""How much a principal may ask of predictions. Pure.

A rate counts predictions, so a request of a hundred rows counts as a hundred. Limits hold for the whole cluster, see
docs/limits.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from divisions.errors import UsageError

MAX_RATE: Final = 1_000_000_000
MAX_CONCURRENCY: Final = 100_000
MAX_DEADLINE_MS: Final = 600_000
WINDOWS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RATE: Final = re.compile(r"([0-9]{1,10})/([smhd])")
_TIME: Final = re.compile(r"([0-9]{1,6})(ms|s)")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rate`` predictions in ``window_s`` seconds, so many requests at once, and the latest deadline of a request. 0
    means no limit."""

    rate: Annotated[int, msgspec.Meta(ge=0, le=MAX_RATE)] = 0
    window_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 1
    concurrency: Annotated[int, msgspec.Meta(ge=0, le=MAX_CONCURRENCY)] = 0
    deadline_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_DEADLINE_MS)] = 0


NO_LIMITS: Final = Limits()


def read_limits(rate: str = "", concurrency: int = 0, deadline: str = "") -> Limits:
    """Limits as a person writes them; what is empty or 0 has none.

    >>> read_limits("100/s", 8, "200ms")
    Limits(rate=100, window_s=1, concurrency=8, deadline_ms=200)

    Raises:
        UsageError: one of them cannot be read.
    """
    count, window_s = _rate(rate) if rate else (0, 1)
    if not 0 <= concurrency <= MAX_CONCURRENCY:
        raise UsageError(f"{concurrency} requests at once is no limit", remedy=f"write 1 to {MAX_CONCURRENCY:,}")
    return Limits(count, window_s, concurrency, _deadline_ms(deadline) if deadline else 0)


def show_limits(limits: Limits) -> str:
    """The limits in a few words.

    >>> show_limits(Limits(6000, 60, 8, 200))
    '6000/m, 8 at once, 200ms'
    >>> show_limits(NO_LIMITS)
    'none'
    """
    units = {window_s: unit for unit, window_s in WINDOWS_S.items()}
    unit = units.get(limits.window_s, f"{limits.window_s}s")
    shown = [
        f"{limits.rate}/{unit}" if limits.rate else "",
        f"{limits.concurrency} at once" if limits.concurrency else "",
        f"{limits.deadline_ms}ms" if limits.deadline_ms else "",
    ]
    return ", ".join(filter(None, shown)) or "none"


def _rate(text: str) -> tuple[int, int]:
    found = _RATE.fullmatch(text)
    if found is None or not 0 < int(found[1]) <= MAX_RATE:
        raise UsageError(f"{text[:20]!r} is no rate", remedy="write it like 100/s, 6000/m, 50000/h or 1000000/d")
    return int(found[1]), WINDOWS_S[found[2]]


def _deadline_ms(text: str) -> int:
    found = _TIME.fullmatch(text)
    milliseconds = 0 if found is None else int(found[1]) * (1 if found[2] == "ms" else 1_000)
    if not 0 < milliseconds <= MAX_DEADLINE_MS:
        raise UsageError(f"{text[:20]!r} is no deadline", remedy="write it like 200ms or 2s")
    return milliseconds
