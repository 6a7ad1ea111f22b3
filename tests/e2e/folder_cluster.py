"""A cluster that the tests of a folder share. It ends after the last of them, so that it does not run beside others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class FolderCluster:
    """See the module. The folder's ``conftest.py`` has one, a fixture that is `running`, and a hook that calls
    `torn_down`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._downs: list[Callable[[], object]] = []

    @contextlib.contextmanager
    def running(self, up: Callable[[], object], down: Callable[[], object]) -> Iterator[None]:
        """Up while entered, but for no longer than the folder's tests; ``down`` is called once."""
        self._downs.append(down)
        try:
            up()
            yield
        finally:
            self._end()

    def torn_down(self, nextitem: pytest.Item | None) -> None:
        """After each test's teardown; ``nextitem`` is the next test."""
        if nextitem is None or not nextitem.path.is_relative_to(self._folder):
            self._end()

    def _end(self) -> None:
        if self._downs:
            self._downs.pop()()
