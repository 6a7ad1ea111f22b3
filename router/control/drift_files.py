"""Keeps what is known of drift in files of the home: ``drift/<endpoint>.msgpack``, for a controller that restarts.

A file is written whole or not at all. One that is damaged, or cannot be read, is left out with a warning: then the
windows fill anew, and nothing else is lost. A journal would be the wrong place: this is megabytes every five minutes.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from divisions.deployment import write_private
from router.control import saving
from router.control.drift_watch import DriftState, DriftWatch

log = logging.getLogger(__name__)

SAVE_S = 300
TURN_S = 1.0
_MAGIC = b"divisions-drift-1\n"


class DriftFiles:
    """See the module.

    Args:
        folder: of the files; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> dict[str, DriftState]:
        """Every state that can be read, by endpoint."""
        found = {}
        for path in sorted(self._folder.glob("*.msgpack")):
            try:
                data = path.read_bytes()
                if not data.startswith(_MAGIC):
                    raise ValueError("it was not written by this release")
                state = msgspec.msgpack.decode(data[len(_MAGIC) :], type=DriftState)
                found[state.endpoint] = state
            except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
                log.warning("%s is left out, so these windows of drift fill anew: %s", path, error)
        return found

    def write(self, states: list[DriftState]) -> None:
        """Replaces the files of these endpoints. A full disk costs the state of this time, and a line in the log."""
        for state in states:
            path = self._folder / f"{state.endpoint}.msgpack"
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_private(path, _MAGIC + msgspec.msgpack.encode(state))
            except OSError as error:
                log.warning("the drift of %s could not be saved to %s: %s", state.endpoint, path, error.strerror)


async def keep(files: DriftFiles, watch: DriftWatch) -> None:
    """Saves the states every `SAVE_S`, and at once when an alert is new, in a thread."""
    await saving.keep(watch, watch.states, files.write, "the state of drift", turns=SAVE_S, turn_s=TURN_S)
