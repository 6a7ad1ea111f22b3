"""How often Python's garbage collector looks at what a process has made."""

from __future__ import annotations

import atexit
import gc

THRESHOLDS = (50_000, 10, 10)
"""New objects before a collection of the young ones, and collections before one of the older ones."""


def collect_seldom() -> None:
    """Makes the collector rare; for a process that begins with imports. Called before them.

    PyTorch, MLflow and Ray make some hundred thousand objects that stay for good. By Python's own thresholds the
    collector walks them again and again while they come: a sixth of a short run's CPU time. Garbage is still collected,
    only later: what has no cycle goes at once, as ever. When the interpreter ends it would collect all once more, which
    takes as long again, for memory that the kernel takes back anyway.
    """
    gc.set_threshold(*THRESHOLDS)
    atexit.register(gc.freeze)
