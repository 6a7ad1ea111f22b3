"""Processes beside a cluster: it serves on without them. One that has ended is started again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from deploy.supervision.launch import Command


@dataclass(slots=True)
class Beside:
    """One of them.

    Attributes:
        name: for the log, with its article.
        command: starts it.
        is_wanted: whether it has anything to do yet.
        end: the signal that ends it.
        pid: 0 while it does not run.
        due_s: when it may be started, by the monotonic clock.
    """

    name: str
    command: Command
    is_wanted: Callable[[], bool]
    end: signal.Signals
    pid: int = 0
    due_s: float = 0.0

    def has_ended(self, ended: dict[int, int]) -> str:
        """Forgets it if it is among the processes that have ended; what the log says then, else nothing."""
        if self.pid not in ended:
            return ""
        status, self.pid = ended[self.pid], 0
        return f"{self.name} ended with status {status}"

    def may_start(self, now_s: float, pause_s: float) -> bool:
        """Whether to start it now; if so, not again before ``pause_s`` are over."""
        if self.pid or now_s < self.due_s:
            return False
        self.due_s = now_s + pause_s
        return self.is_wanted()

    def stop(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, self.end)
