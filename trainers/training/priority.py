"""Lowers the priority of trainers. On a machine that also serves, requests come before training."""

from __future__ import annotations

import os

NICENESS = 10


def lower_priority() -> None:
    """Lowers this process's priority permanently. Does nothing if it is already this low."""
    missing = NICENESS - os.nice(0)
    if missing > 0:
        os.nice(missing)
