"""Keeps what is known of drift in files of the home: ``drift/<endpoint>.msgpack``, for a controller that restarts.

A journal would be the wrong place: this is megabytes every five minutes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from router.control import saving
from router.control.drift_watch import DriftState, DriftWatch
from router.control.endpoint_files import EndpointFiles

SAVE_S = 300
TURN_S = 1.0
_MAGIC = b"divisions-drift-1\n"


class DriftFiles:
    """See the module.

    Args:
        folder: of the files; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self._files = EndpointFiles(folder, ".msgpack", "drift", "these windows of drift fill anew")

    def read(self) -> dict[str, DriftState]:
        """Every state that can be read, by endpoint."""
        return {state.endpoint: state for state in self._files.read(_parsed)}

    def write(self, states: list[DriftState]) -> None:
        """Replaces the files of these endpoints. A full disk costs the state of this time."""
        for state in states:
            self._files.write(state.endpoint, _MAGIC + msgspec.msgpack.encode(state))


def _parsed(path: Path) -> DriftState:
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise ValueError("it was not written by this release")
    return msgspec.msgpack.decode(data[len(_MAGIC) :], type=DriftState)


async def keep(files: DriftFiles, watch: DriftWatch) -> None:
    """Saves the states every `SAVE_S`, and at once when an alert is new, in a thread."""
    await saving.keep(watch, watch.states, files.write, "the state of drift", turns=SAVE_S, turn_s=TURN_S)
