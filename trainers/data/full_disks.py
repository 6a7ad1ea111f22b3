"""A full disk: which one it is, and what to do about it.

A run writes to two. Rows on their way are in a folder of TMPDIR (`trainers.data.working_folder`). What stays is in the
home: the quarantine, the offline store, the newest rows. An error that names no file is of the folder that was written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from divisions.errors import DivisionsError, InputError
from trainers.data.working_folder import is_working_folder

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NAMED = re.compile(r'(?:file|directory) \\?"([^"\\]+)\\?"')


@contextlib.contextmanager
def full_disk_told(doing: str, folder: Path) -> Iterator[None]:
    """While the block runs, the error of a full disk becomes one that names the disk.

    Args:
        doing: what fails then, such as ``writing features``.
        folder: what the block writes.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        told = full_disk_error(doing, error, folder)
        if told is None:
            raise
        raise told from None


def full_disk_error(doing: str, error: Exception, folder: Path) -> InputError | None:
    """The error to raise in place of ``error``; None if that is no full disk. See `full_disk_told`."""
    if not _is_full(error):
        return None
    named = _named(error)
    place = Path(named).parent if named else folder
    if is_working_folder(place):
        remedy = "give TMPDIR a larger disk"
    else:
        remedy = "make room on that disk, or move the home (DIVISIONS_HOME) to a larger one"
    return InputError(f"{doing} failed: no space left in {_shown(place)}", remedy=remedy)


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    # DuckDB has the reason as text only.
    return not isinstance(error, DivisionsError) and any(os.strerror(number) in str(error) for number in _FULL)


def _named(error: Exception) -> str:
    """The file that the error names; empty if it names none."""
    if isinstance(error, OSError):
        return str(error.filename or "")
    found = _NAMED.search(str(error))
    return found[1] if found else ""


def _shown(place: Path) -> Path:
    """The folder of TMPDIR for one of its working folders, which is gone when the message is read."""
    for folder in (place, *place.parents):
        if is_working_folder(folder) and not is_working_folder(folder.parent):
            return folder.parent
    return place
