"""All ways to be stopped act like Ctrl-C: each block stops the processes that it started."""

from __future__ import annotations

import signal
from types import FrameType

EXIT_INTERRUPTED = 130


def stop_on_sigterm() -> None:
    """Makes SIGTERM and the end of the terminal raise KeyboardInterrupt in the main thread."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
