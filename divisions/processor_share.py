"""How a process beside the gateway leaves the processors to requests, which take a tenth of a millisecond.

Three things decide on Linux. Niceness says how much of a processor a process gets. But it is compared among the
processes of one session first, and sessions are then equal (sched(7), autogroups): so the process needs a session of
its own, with its own niceness. And a process, however nice, runs to the end of its slice of some milliseconds before
one that wakes beside it gets its turn: so its slice must be short (sched_setattr(2); Linux 6.12 and later).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import time
from pathlib import Path

NICENESS = 10
SLICE_NS = 100_000
"""The shortest that Linux gives."""
_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES, _PAUSE_S = 5, 0.11
"""All processes of a user together may change the niceness of a session once in a tenth of a second."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""The system call's number: the C libraries of today have no function for it."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQII")
"""struct sched_attr: size, policy, flags, niceness, priority, slice, then what other policies use."""


def give_way() -> None:
    """Requests come first from now on. What this system cannot do, or forbids, is left out.

    Call it before threads are started: a slice is a thread's, and those that it starts inherit it.
    """
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # It may lead one already.
        os.setsid()
    if os.getsid(0) == os.getpid():
        _let_session_give_way()
    _shorten_slice()


def _let_session_give_way() -> None:
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(NICENESS))
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        except OSError:  # a kernel without autogroups
            return
        else:
            return


def _shorten_slice() -> None:
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    size = _ATTRIBUTES.size
    attributes = _ATTRIBUTES.pack(size, os.SCHED_OTHER, 0, niceness, 0, SLICE_NS, 0, 0, 0, 0)
    ctypes.CDLL(None).syscall(number, 0, ctypes.create_string_buffer(attributes, size), 0)
