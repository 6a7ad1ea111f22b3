"""Time as a value that is passed in: shells take a `Clock`, pure code takes ``now_s``."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where a shell reads the time."""

    def wall_s(self) -> float:
        """Seconds since the Unix epoch; may jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since a fixed point; never goes back. Comparable between processes of one host."""
        ...


class SystemClock:
    """The machine's clocks."""

    wall_s = staticmethod(time.time)
    monotonic_s = staticmethod(time.monotonic)


class ManualClock:
    """A clock for tests: it stands still until `advance` moves it."""

    def __init__(self, wall_s: float = 1_736_812_800.0, monotonic_s: float = 0.0) -> None:
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s

    def wall_s(self) -> float:
        return self._wall_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward by ``seconds``."""
        self._wall_s += seconds
        self._monotonic_s += seconds
