"""Writes every transition of every rollout as one line of JSON, for log shippers. The journal stays the truth.

The file is ``logs/rollouts.jsonl`` in the home folder: at most `MAX_BYTES`, and one older file of the same size.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import msgspec

from router.rollouts.messages import RolloutEvent

log = logging.getLogger(__name__)

MAX_BYTES = 10 * 1024 * 1024


class EventSink(Protocol):
    """Takes events. It never raises: a full disk must not stop a rollback."""

    def emit(self, event: RolloutEvent) -> None: ...


class EventFile:
    """Appends events to a file; makes its folder if it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def emit(self, event: RolloutEvent) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size >= MAX_BYTES:
                self._path.replace(self._path.with_suffix(".1.jsonl"))
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(event) + b"\n")
        except OSError as error:
            log.warning("an event could not be written to %s: %s", self._path, error.strerror)
