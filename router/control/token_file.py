"""The list of tokens in a file of the home."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from divisions.access.store import decode, encode
from divisions.access.tokens import AccessList
from divisions.deployment import write_private
from divisions.errors import TokensUnavailableError

NAME = "access.json"


class TokenFile:
    """The list in a file of the home with mode 0600. A change is a new file that takes the old one's name."""

    def __init__(self, home: Path) -> None:
        self._path = home / NAME

    def load(self) -> AccessList:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return AccessList()
        except OSError as error:
            raise self._failed("read", error) from None
        return decode(data, str(self._path))

    def change(self, edit: Callable[[AccessList], AccessList]) -> AccessList:
        with self._locked():
            after = edit(self.load())
            try:
                write_private(self._path, encode(after))
                _sync_folder(self._path.parent)
            except OSError as error:
                raise self._failed("written", error) from None
            return after

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._failed("locked", error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _failed(self, what: str, error: OSError) -> TokensUnavailableError:
        return TokensUnavailableError(
            f"the tokens in {self._path} cannot be {what}: {error.strerror or error}",
            remedy="free space on the disk, and look at the rights of the folder",
        )


def _sync_folder(folder: Path) -> None:
    """A new name is durable only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
