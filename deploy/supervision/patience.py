"""Decides when a start that makes no progress is given up. Pure.

A fixed limit fails on a busy machine, where the same start takes many times longer. So a start may take long, as long
as something changes: a log grows, a file appears, the step is another one, the starting process uses the processor.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartLimits:
    """``quiet_s`` is how long nothing may change. ``whole_s`` limits a start that changes something for ever."""

    quiet_s: float = 60.0
    whole_s: float = 600.0


class Patience:
    """Watches one start."""

    def __init__(self, limits: StartLimits, now_s: float) -> None:
        self._limits = limits
        self._begun_s = now_s
        self._changed_s = now_s
        self._mark: object = None

    def exhausted(self, mark: object, now_s: float) -> str:
        """Records the present state of the start; returns why to give up, empty while there is hope."""
        if mark != self._mark:
            self._mark, self._changed_s = mark, now_s
        if now_s - self._changed_s >= self._limits.quiet_s:
            return f"made no progress for {self._limits.quiet_s:.0f} s"
        if now_s - self._begun_s >= self._limits.whole_s:
            return f"did not end within {self._limits.whole_s:.0f} s"
        return ""
