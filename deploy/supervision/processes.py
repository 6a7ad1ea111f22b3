"""Finds the processes of a cluster, and ends them. By pid, never by name.

A pid alone is not an identity, because the kernel uses pids again. A process is identified by its pid and start time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

_POLL_S = 0.05
_DRIVER_LOG = "python-core-driver"
_ENDED = frozenset({psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine's start; None when there is no such process.

    psutil gives wall-clock time, which moves when the machine's clock is set. Ticks are comparable for ever.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets, which may contain anything. Field 22 is the start.
    return int(text.rpartition(")")[2].split()[19])


def is_alive(pid: int, ticks: int) -> bool:
    """Whether exactly this process still runs. A process that ended but was not waited for (a zombie) does not."""
    return start_ticks(pid) == ticks and not _has_ended(pid)


def _has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in _ENDED
    except psutil.NoSuchProcess:
        return True


def find_owned(folder: Path, session: int = 0) -> list[int]:
    """The processes that belong to the cluster whose runtime folder is ``folder``.

    A process belongs to it if it is in the cluster's session. A process of Ray or Python also belongs to it if its
    command line names the folder, or if it has a file in the folder open: every process of Ray keeps its log open
    there. (Ray overwrites the environment of some, so that cannot be used.) Drivers have a log open there too, but
    they are clients of the cluster. A pager that shows a log does not belong to it either.
    """
    owned = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() in _ENDED:
                continue
            is_in_session = bool(session) and os.getsid(process.pid) == session
            if is_in_session or (_is_ray_or_python(process) and (_names(process, folder) or _holds(process, folder))):
                owned.append(process.pid)
    return sorted(owned)


def _is_ray_or_python(process: psutil.Process) -> bool:
    return Path(process.exe()).name.startswith(("python", "raylet", "gcs_server"))


def _names(process: psutil.Process, folder: Path) -> bool:
    """Whether an argument contains the folder's path, and not just that of a folder with a longer name."""
    path = str(folder)
    for argument in process.cmdline():
        position = argument.find(path)
        if position >= 0 and argument[position + len(path) : position + len(path) + 1] in {"/", ""}:
            return True
    return False


def _holds(process: psutil.Process, folder: Path) -> bool:
    # Not psutil's open_files(): it leaves out files that were deleted, such as logs of a folder that was removed.
    inside = f"{folder}/"
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(link)
            if target.startswith(inside) and not Path(target).name.startswith(_DRIVER_LOG):
                return True
    return False


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Checks repeatedly until the condition holds. False when it does not hold in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def end(find: Callable[[], Iterable[int]], grace_s: float) -> None:
    """Ends all processes that ``find`` finds: SIGTERM first, and SIGKILL for those still there after ``grace_s``."""
    _signal(find(), signal.SIGTERM)
    if wait_until(lambda: not list(find()), grace_s):
        return
    for _ in range(100):  # a process may have started another one just before it was killed
        pids = list(find())
        if not pids:
            return
        _signal(pids, signal.SIGKILL)
        time.sleep(_POLL_S)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
