"""Folders for raw rows on their way, gone when their block ends, or after their process was killed.

They lie in the folder of ``TMPDIR``. A killed process cannot remove its own, which may hold much of an input. So each
one is locked while its process lives, and the next process there removes those that are not locked any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from divisions.clock import SystemClock

_PREFIX = "divisions-rows-"
_LOCK = ".in-use"
_MIN_AGE_S = 60.0
"""A younger folder may not be locked yet."""


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """A folder of this process."""
    remove_abandoned()
    # What cannot be removed now, because a thread still writes there, goes as what a killed process has left.
    folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    with folder as name, (Path(name) / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def is_working_folder(place: Path) -> bool:
    """Whether a place is a working folder, or within one."""
    return any(part.startswith(_PREFIX) for part in place.parts)


def remove_abandoned() -> int:
    """Removes this user's folders whose processes have ended; returns how many there were."""
    removed, now_s = 0, SystemClock().wall_s()
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # Another process has removed it meanwhile.
            status = folder.lstat()
            is_old = now_s - status.st_mtime > _MIN_AGE_S
            if is_old and status.st_uid == os.getuid() and not _is_in_use(folder):
                shutil.rmtree(folder)
                removed += 1
    return removed


def _is_in_use(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
