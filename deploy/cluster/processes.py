"""Processes of a cluster: telling them from all others, and ending them. By pid, never by a name.

A pid alone is not an identity, for pids are used again: a process is a pid and its start time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_POLL_S = 0.05
_DRIVER_LOG = "python-core-driver"


@dataclass(frozen=True, slots=True)
class Stat:
    """What ``/proc/<pid>/stat`` says. ``start_ticks`` counts from the machine's start."""

    state: str
    parent: int
    session: int
    start_ticks: int


def read_stat(pid: int, proc: Path = PROC) -> Stat | None:
    """None when there is no such process."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets, and may hold anything.
    fields = text.rpartition(")")[2].split()
    return Stat(state=fields[0], parent=int(fields[1]), session=int(fields[3]), start_ticks=int(fields[19]))


def is_alive(pid: int, start_ticks: int, proc: Path = PROC) -> bool:
    """Whether this very process still runs; one that ended and was not waited for does not."""
    stat = read_stat(pid, proc)
    return stat is not None and stat.start_ticks == start_ticks and stat.state not in "ZX"


def find_owned(folder: Path, session: int = 0, proc: Path = PROC) -> list[int]:
    """The processes that belong to the cluster whose runtime folder is ``folder``.

    Such a process is in the cluster's session, or is one of Ray's or Python's that names the folder in its command
    line, or holds a file below it open: every process of Ray keeps its log open there. (Ray overwrites the
    environment of some.) Drivers, which hold one too, are clients of the cluster and not its own; a pager that shows
    a log is nothing of ours at all.
    """
    marker = os.fsencode(folder)
    owned = []
    for entry in proc.glob("[0-9]*"):
        pid = int(entry.name)
        stat = read_stat(pid, proc)
        if stat is None or stat.state in "ZX" or pid == os.getpid():
            continue
        is_ours = session and stat.session == session
        if is_ours or (_is_ray_or_python(entry) and (_names(entry, marker) or _holds(entry, folder))):
            owned.append(pid)
    return sorted(owned)


def _is_ray_or_python(entry: Path) -> bool:
    with contextlib.suppress(OSError):
        return (entry / "exe").readlink().name.startswith(("python", "raylet", "gcs_server"))
    return False


def _names(entry: Path, marker: bytes) -> bool:
    with contextlib.suppress(OSError):
        arguments = (entry / "cmdline").read_bytes()
        position = arguments.find(marker)
        return position >= 0 and arguments[position + len(marker) : position + len(marker) + 1] in {b"/", b"\0", b""}
    return False


def _holds(entry: Path, folder: Path) -> bool:
    inside = str(folder) + "/"
    with contextlib.suppress(OSError):
        for link in (entry / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(link)
                if target.startswith(inside) and not Path(target).name.startswith(_DRIVER_LOG):
                    return True
    return False


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Looks until the condition holds; False when it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def end(find: Callable[[], Iterable[int]], grace_s: float) -> None:
    """Ends all processes that ``find`` finds: asks them to, and kills those that are there after ``grace_s``."""
    _signal(find(), signal.SIGTERM)
    if wait_until(lambda: not list(find()), grace_s):
        return
    for _ in range(100):  # a process that is killed may just have started another
        pids = list(find())
        if not pids:
            return
        _signal(pids, signal.SIGKILL)
        time.sleep(_POLL_S)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
