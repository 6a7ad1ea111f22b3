"""The parent of all processes of an embedded cluster. When it ends, for whatever reason, it ends all of them.

    divisions up --foreground     (when it dies, the kernel signals the supervisor)
      └── supervisor              a session of its own; adopts every orphan below it (child subreaper)
            └── ray start --block (when the supervisor dies, the kernel signals it)
                  └── GCS, raylet, dashboard, … └── workers: controller, gateways, replicas

Ray's workers and agents outlive a killed raylet, by seconds or for good. As orphans they can no longer be found by
their parent. The kernel gives orphans to the nearest subreaper, so the supervisor can end them by pid, and it knows
that none is left when it has no children.

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

import psutil

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_GRACE_S = 2.0
"""How long orphans of the head may take to end by themselves."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _StopAsked(BaseException):
    """A signal asks us to end."""


def main(arguments: Sequence[str]) -> int:
    grace_s, parent, _, *command = arguments
    for number in _STOP_SIGNALS:
        signal.signal(number, _ask_to_stop)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    running = status = 0
    try:
        if int(parent):
            _end_with_parent()
            if os.getppid() != int(parent):  # it died before we asked the kernel
                return 0
        # preexec_fn is safe: we have no threads that could hold a lock.
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
    """Waits until the head ends, and returns its status. Meanwhile it reaps orphans that ended."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == head:
            return os.waitstatus_to_exitcode(status)


def _end_all(head: int, grace_s: float) -> None:
    """Asks the head to end (it ends what it started), then ends the rest. Returns when there is no child left.

    ``head`` 0 means that the head has ended already.
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
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
