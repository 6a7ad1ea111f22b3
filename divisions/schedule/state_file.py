"""``<home>/schedule.json``. Each write replaces the whole file; a lock makes each change see the one before.

The scheduler, ``divisions schedule`` and the runs themselves change it. ``scheduler.lock`` is held by the scheduler
that works: the kernel frees it when that process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from divisions.deployment import write_private
from divisions.errors import ClusterError, reason_of
from divisions.schedule.state import FORMAT, Schedule

NAME = "schedule.json"
_LOCK = "schedule.lock"
_SCHEDULER_LOCK = "scheduler.lock"


def read_schedule(home: Path) -> Schedule:
    """What is scheduled; empty when there is no file.

    Raises:
        ClusterError: the file is damaged, or of a later release.
    """
    path = home / NAME
    try:
        schedule = msgspec.json.decode(path.read_bytes(), type=Schedule)
    except FileNotFoundError:
        return Schedule()
    except (OSError, msgspec.MsgspecError) as error:
        remedy = "remove it: pipelines of the folder of `divisions up` are found again, others are to be added again"
        raise ClusterError(f"{path} cannot be read: {reason_of(error)}", remedy=remedy) from None
    if schedule.format > FORMAT:
        raise ClusterError(f"{path} is of a later release of Divisions", remedy="use that release, or remove the file")
    return schedule


def change_schedule(home: Path, change: Callable[[Schedule], Schedule | None]) -> Schedule | None:
    """Replaces the schedule by what ``change`` makes of it; None leaves it as it is, and is returned.

    Raises:
        ClusterError: it cannot be read or written; nothing has changed.
    """
    try:
        with _alone(home / _LOCK):
            before = read_schedule(home)
            after = change(before)
            if after is not None and after != before:
                _write(home, after)
            return after
    except OSError as error:
        raise ClusterError(f"{home / NAME} cannot be written: {error.strerror}", remedy="see to the disk") from None


@contextlib.contextmanager
def scheduling_alone(home: Path) -> Iterator[bool]:
    """Whether this process is the scheduler of the home until the end of the block; False if another one is."""
    with _opened(home / _SCHEDULER_LOCK) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def has_scheduler(home: Path) -> bool:
    """Whether a scheduler of this home works."""
    path = home / _SCHEDULER_LOCK
    if not path.exists():
        return False
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with _opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(home: Path, schedule: Schedule) -> None:
    write_private(home / NAME, msgspec.json.format(msgspec.json.encode(schedule)))
