"""Tokens of a home: files that only their owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from divisions.errors import ClusterError

TOKENS = ("token", "channel_token", "ray_token")
"""For the control API, the data channel and Ray."""


def create_private_folder(folder: Path) -> None:
    """Creates a folder with mode 0700, or sets the mode of the existing one.

    Raises:
        ClusterError: it cannot be created, or another user owns it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise ClusterError(f"{folder} belongs to another user", remedy="choose another DIVISIONS_HOME or TMPDIR")
        folder.chmod(0o700)
    except OSError as error:
        raise ClusterError(
            f"{folder} cannot be made: {error.strerror}", remedy="choose another DIVISIONS_HOME"
        ) from None


def create_tokens(home: Path) -> None:
    """Creates the tokens that are missing, and sets the mode of all to 0600."""
    for name in TOKENS:
        path = home / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            path.chmod(0o600)
            continue
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
