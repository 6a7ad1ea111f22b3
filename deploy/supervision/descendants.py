"""The processes below the supervisor: it adopts orphans, ends with its parent, reaps and ends all. Linux.

Ray's workers and agents outlive a killed raylet, by seconds or for good. As orphans they can no longer be found by
their parent. The kernel gives orphans to the nearest subreaper, so the supervisor can end them by pid, and it knows
that none is left when it has no children.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time

import psutil

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_GRACE_S = 2.0
"""How long orphans of the first process may take to end by themselves."""
_POLL_S = 0.05


def adopt_orphans() -> None:
    """Makes this process the parent of every orphan below it."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """The kernel sends this process SIGTERM when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, argument: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def reap() -> dict[int, int]:
    """Takes children that ended off the process table; returns their exit statuses (negative: the signal)."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def end_all(first: int = 0, grace_s: float = 0.0) -> None:
    """Asks ``first`` to end (it ends what it started), then kills the rest. Returns when there is no child left.

    ``first`` 0 kills all at once.
    """
    if first:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGTERM)
    deadline_s = time.monotonic() + (grace_s if first else 0.0)
    while True:
        if first in reap():
            deadline_s = min(deadline_s, time.monotonic() + _ORPHANS_GRACE_S)
        children = psutil.Process().children(recursive=True)
        if not children:
            return
        if time.monotonic() >= deadline_s:
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.kill()
        time.sleep(_POLL_S)
