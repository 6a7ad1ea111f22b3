"""The one parent of all processes of an embedded cluster. When it ends, for whatever reason, so do all of them.

    divisions up --foreground     (when it dies, the kernel tells the supervisor)
      └── supervisor              a session of its own; adopts every orphan below it (child subreaper)
            └── ray start --block (when the supervisor dies, the kernel tells it)
                  └── GCS, raylet, dashboard, … └── workers: controller, gateways, replicas

Ray's workers and agents outlive a raylet that is killed, by seconds or for good, and cannot be told by their parent
any more once they are orphans. A subreaper stays the ancestor of them all, so it can end them by pid, and be certain
that none is left when it has no child any more. It needs nothing but the standard library, and hardly any memory.

    python -m deploy.cluster.supervisor GRACE_S PARENT_PID -- COMMAND…      PARENT_PID 0: live on without the parent
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_GRACE_S = 2.0
"""How long processes that the head has left behind may take to notice."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _StopAsked(BaseException):
    """A signal asked us to end."""


def main(arguments: Sequence[str]) -> int:
    grace_s, parent, _, *command = arguments
    for number in _STOP_SIGNALS:
        signal.signal(number, _ask_to_stop)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    running = status = 0
    try:
        if int(parent):
            _end_with_parent()
            if os.getppid() != int(parent):  # it died before the kernel knew our wish
                return 0
        # There are no threads here that the child could deadlock on.
        running = subprocess.Popen(command, preexec_fn=_end_with_parent, stdin=subprocess.DEVNULL).pid  # noqa: PLW1509
        status = _wait_for(running)
        running = 0
        print(f"supervisor: the cluster's head ended by itself with status {status}", flush=True)
    except _StopAsked:
        pass
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _end_all(running, float(grace_s))
    return 1 if status else 0


def _ask_to_stop(number: int, frame: object) -> NoReturn:
    raise _StopAsked


def _prctl(option: int, argument: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _end_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_for(head: int) -> int:
    """Waits for the head's end, and takes orphans that ended off the process table meanwhile; returns its status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == head:
            return os.waitstatus_to_exitcode(status)


def _end_all(head: int, grace_s: float) -> None:
    """Asks the head to end (it ends what it started), then ends what is left; returns when there is no child.

    ``head`` 0 means that it ended already.
    """
    if head:
        with contextlib.suppress(ProcessLookupError):
            os.kill(head, signal.SIGTERM)
    deadline_s = time.monotonic() + (grace_s if head else _ORPHANS_GRACE_S)
    while True:
        try:
            ended = os.waitpid(-1, os.WNOHANG)[0]
        except ChildProcessError:
            return
        if ended:
            if ended == head:
                deadline_s = min(deadline_s, time.monotonic() + _ORPHANS_GRACE_S)
            continue
        if time.monotonic() >= deadline_s:
            for pid in _children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _children() -> list[int]:
    own = os.getpid()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == own:
                    found.append(int(name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
