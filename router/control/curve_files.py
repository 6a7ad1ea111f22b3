"""Keeps the curves of rollouts in files of the home: ``curves/<endpoint>.json``, for a controller that restarts.

As with drift, a file is whole or not there, and one that cannot be read is left out with a warning: the curve begins
anew, and nothing else is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from divisions.deployment import write_private
from divisions.house import RolloutCurve
from router.control import saving

if TYPE_CHECKING:  # the journal's database comes with it
    from router.control.chronicle import Chronicle

log = logging.getLogger(__name__)

SAVE_S = 10
TURN_S = 1.0
MAX_BYTES = 1_000_000


class CurveFiles:
    """See the module.

    Args:
        folder: of the files; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, RolloutCurve] = {}

    def read(self) -> dict[str, RolloutCurve]:
        """Every curve that can be read, by endpoint."""
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                with path.open("rb") as file:
                    curve = msgspec.json.decode(file.read(MAX_BYTES), type=RolloutCurve)
                found[curve.endpoint] = curve
            except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
                log.warning("%s is left out, so that curve begins anew: %s", path, error)
        return found

    def write(self, curves: Iterable[RolloutCurve]) -> None:
        """Replaces the files of curves that have changed. A full disk costs what is new, and a line in the log."""
        for curve in curves:
            if self._written.get(curve.endpoint) == curve:
                continue
            path = self._folder / f"{curve.endpoint}.json"
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_private(path, msgspec.json.encode(curve))
                self._written[curve.endpoint] = curve
            except OSError as error:
                log.warning("the curve of %s could not be saved to %s: %s", curve.endpoint, path, error.strerror)


async def keep(files: CurveFiles, chronicle: Chronicle) -> None:
    """Saves the curves every `SAVE_S`, and at once when a rollout changes its phase, in a thread."""
    await saving.keep(chronicle, chronicle.curves, files.write, "the curves of rollouts", turns=SAVE_S, turn_s=TURN_S)
