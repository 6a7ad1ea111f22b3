"""Every way to be stopped is Ctrl-C: what a benchmark started is then stopped by the blocks that started it."""

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
