"""Files of a home that only their owner can read: tokens, and all that holds data."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from divisions.errors import ClusterError

TOKENS = ("token", "channel_token", "ray_token")
"""For the control API, the data channel and Ray."""


CONTENTS = (
    "access*", "attestations", "audit*", "bundles", "channel*", "cluster*", "curves", "demo", "deployment*", "drift",
    "engines", "features", "gateway.pem", "image_releases*", "journal*", "logs", "metrics", "mlartifacts", "mlflow*",
    "notices", "outcomes", "packages", "predictions", "prometheus", "quarantine", "reports", "run-claims", "schedule*",
    "signing_key.pem", "training*", "*.lock",
)  # fmt: skip
"""What we write into a home. A user may have named a folder that has other files, too: those are left alone."""


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


def create_tokens(home: Path, names: Iterable[str] = TOKENS) -> None:
    """Creates the tokens that are missing, and sets the mode of all to 0600."""
    for name in names:
        path = home / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            path.chmod(0o600)
            continue
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))


def make_private(home: Path) -> None:
    """Takes the rights of all other users away from what earlier releases, or other programs, wrote into the home."""
    for pattern in CONTENTS:
        for path in home.glob(pattern):
            close_to_others(path)


def close_to_others(path: Path) -> None:
    """Takes the rights of all other users away from a file, or from a folder and all in it. Follows no link."""
    _close(path)
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                _close(Path(folder, name))


def _close(path: Path) -> None:
    with contextlib.suppress(OSError):  # it is gone, or another user's
        status = path.lstat()
        if status.st_mode & 0o077 and not stat.S_ISLNK(status.st_mode):
            path.chmod(stat.S_IMODE(status.st_mode) & ~0o077)
