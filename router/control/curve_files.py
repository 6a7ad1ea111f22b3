"""Keeps the curves of rollouts in files of the home: ``curves/<endpoint>.json``, for a controller that restarts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from divisions.house import RolloutCurve
from router.control import saving
from router.control.endpoint_files import EndpointFiles

if TYPE_CHECKING:  # the journal's database comes with it
    from router.control.chronicle import Chronicle

SAVE_S = 10
TURN_S = 1.0
MAX_BYTES = 1_000_000


class CurveFiles:
    """See the module.

    Args:
        folder: of the files; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self._files = EndpointFiles(folder, ".json", "curve", "that curve begins anew")
        self._written: dict[str, RolloutCurve] = {}

    def read(self) -> dict[str, RolloutCurve]:
        """Every curve that can be read, by endpoint."""
        return {curve.endpoint: curve for curve in self._files.read(_parsed)}

    def write(self, curves: Iterable[RolloutCurve]) -> None:
        """Replaces the files of curves that have changed. A full disk costs what is new."""
        for curve in curves:
            has_changed = self._written.get(curve.endpoint) != curve
            if has_changed and self._files.write(curve.endpoint, msgspec.json.encode(curve)):
                self._written[curve.endpoint] = curve


def _parsed(path: Path) -> RolloutCurve:
    with path.open("rb") as file:
        return msgspec.json.decode(file.read(MAX_BYTES), type=RolloutCurve)


async def keep(files: CurveFiles, chronicle: Chronicle) -> None:
    """Saves the curves every `SAVE_S`, and at once when a rollout changes its phase, in a thread."""
    await saving.keep(chronicle, chronicle.curves, files.write, "the curves of rollouts", turns=SAVE_S, turn_s=TURN_S)
