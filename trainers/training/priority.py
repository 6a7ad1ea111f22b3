"""Trainers give way: on a machine that also serves, a request is worth more than an epoch."""

from __future__ import annotations

import os

NICENESS = 10


def give_way() -> None:
    """Lowers this process's priority for good. Does nothing where it is that low already."""
    missing = NICENESS - os.nice(0)
    if missing > 0:
        os.nice(missing)
