"""Lowers the priority of the heavy stages' workers. On a machine that also serves, requests come before training.

The process that starts a run keeps its priority. Its own work (export, validation, registration) is one thread for some
seconds, and at the lowest priority of a busy machine that thread gets a twentieth of a core.
"""

from __future__ import annotations

import os

NICENESS = 10


def lower_priority() -> None:
    """Lowers this process's priority permanently. Does nothing if it is already this low."""
    missing = NICENESS - os.nice(0)
    if missing > 0:
        os.nice(missing)
