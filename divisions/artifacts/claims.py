"""Who makes a version of a bundle, or begins to serve one, and who removes bundles: never both at once.

Two versions may have the same bundle. So whoever removes an old one must not take away what a run has just found to be
there already. The lock is the home's. It ends with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from divisions.artifacts.local import bundles_folder

_NAME = ".claims.lock"


@contextlib.contextmanager
def using_bundles(home: Path) -> Iterator[None]:
    """Nothing is removed meanwhile. Many may use bundles at once."""
    with _locked(home, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def removing_bundles(home: Path) -> Iterator[None]:
    """Nobody else uses or removes bundles meanwhile."""
    with _locked(home, fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def _locked(home: Path, how: int) -> Iterator[None]:
    folder = bundles_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _NAME).open("a") as file:
        fcntl.flock(file, how)
        yield
