"""Which runs of this home have a living process: each holds a lock on ``<home>/run-claims/<run id>``.

A process that is killed cannot say so, and MLflow would show its run as RUNNING for ever. But the kernel ends its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_FOLDER = "run-claims"


class RunClaim:
    """The lock of one run. It ends with the process, at the latest."""

    def __init__(self, home: Path, run_id: str) -> None:
        """Raises: OSError: the home cannot be written."""
        folder = home / _FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / run_id
        draft = folder / f".{run_id}"
        self._file = draft.open("w")
        # Under its name it is locked from the first moment on, or others would take it for one that was left.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        draft.rename(self._path)

    def release(self, *, is_noted: bool) -> None:
        """The run has ended. Unless the registry has noted that, the file stays, and tells the next run to do so."""
        if is_noted:
            self._path.unlink(missing_ok=True)
        self._file.close()


def abandoned(home: Path) -> Iterator[str]:
    """The runs whose processes are gone. Each is locked while the caller deals with it, and forgotten afterwards,
    unless that fails."""
    for path in sorted((home / _FOLDER).glob("[!.]*")):
        with contextlib.suppress(FileNotFoundError), path.open("r+") as file:
            if _is_free(file) and _is_same(file, path):
                yield path.name
                path.unlink(missing_ok=True)


def _is_free(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same(file: TextIO, path: Path) -> bool:
    """Whether the file still has this name: another process may have dealt with it meanwhile."""
    return os.fstat(file.fileno()).st_ino == path.stat().st_ino
