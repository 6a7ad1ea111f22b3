"""The folder of the replicas' Unix sockets. It is private to our user, and sockets of dead replicas are removed."""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
from pathlib import Path

from divisions.errors import ChannelError

_NAME = re.compile(r"^r-[0-9a-z]+-(\d+)\.sock$")

log = logging.getLogger(__name__)


def prepare_folder(folder: Path) -> None:
    """Makes the folder, or checks the existing one.

    All users can write to the system's temporary folder. A user who creates our folder first could read and answer
    every batch.

    Raises:
        ChannelError: the path is not a folder of our user with mode 0700.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ChannelError(
            f"{folder} must be a folder of user {os.getuid()} with mode 0700, not "
            f"{stat.filemode(found.st_mode)} of user {found.st_uid}",
            remedy="remove it; if it is another user's, find out why it is there",
        )


def socket_path(folder: Path, replica_id: str, pid: int) -> Path:
    """The path of one process's socket. It contains the pid, so that others can check whether the owner is alive."""
    short = re.sub(r"[^0-9a-z]", "", replica_id.lower())[-8:]
    return folder / f"r-{short or '0'}-{pid}.sock"


def remove_stale(folder: Path) -> list[Path]:
    """Removes sockets whose owner is dead; returns them.

    Two signs must agree: no process has the owner's pid, and the socket refuses a connection. One alone can mislead: a
    process in another container has no visible pid, and a socket refuses between bind and listen.
    """
    removed = []
    for path in folder.iterdir():
        match = _NAME.match(path.name)
        if match and not _is_alive(int(match[1])) and _is_refused(path):
            path.unlink(missing_ok=True)
            removed.append(path)
    if removed:
        log.info("removed %d sockets of replicas that are dead", len(removed))
    return removed


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_refused(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
