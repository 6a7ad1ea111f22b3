"""A file for each endpoint in a folder of the home: what a controller that restarts goes on with.

A file is written whole or not at all. One that is damaged, or cannot be read, is left out with a warning, and nothing
else is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from divisions.deployment import write_private

log = logging.getLogger(__name__)

T = TypeVar("T")


class EndpointFiles:
    """See the module.

    Args:
        folder: of the files; made when the first one is written.
        ending: of their names, after the endpoint's.
        what: is in a file, for the log: it "could not be saved".
        loss: what follows from a file that is left out.
    """

    def __init__(self, folder: Path, ending: str, what: str, loss: str) -> None:
        self._folder = folder
        self._ending = ending
        self._what = what
        self._loss = loss

    def read(self, parse: Callable[[Path], T]) -> Iterator[T]:
        """Each file that ``parse`` takes. It refuses one by an `OSError` or a `ValueError`, as msgspec's are."""
        for path in sorted(self._folder.glob(f"*{self._ending}")):
            try:
                yield parse(path)
            except (OSError, ValueError) as error:
                log.warning("%s is left out, so %s: %s", path, self._loss, error)

    def write(self, endpoint: str, content: bytes) -> bool:
        """Replaces an endpoint's file; returns whether it could. A full disk costs a line in the log."""
        path = self._folder / f"{endpoint}{self._ending}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, content)
        except OSError as error:
            log.warning("the %s of %s could not be saved to %s: %s", self._what, endpoint, path, error.strerror)
            return False
        return True
