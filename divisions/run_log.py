"""What a run has printed: ``<home>/logs/runs/<run id>.log``, with a copy among the run's artifacts.

The file grows while the run goes on. It is bounded, and so is their number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO, cast

from divisions.clock import Clock
from divisions.progress import LineProgress, Progress

ARTIFACT = "run.log"
MOST_BYTES = 1_000_000
MOST_FILES = 200
_CUT = "the log is full: what came later is not kept\n"


def log_path(home: Path, run_id: str) -> Path:
    return home / "logs" / "runs" / f"{run_id}.log"


class RunLog:
    """Shows a run's progress by ``shown``, and keeps it as lines with their time."""

    def __init__(self, shown: Progress, home: Path, clock: Clock) -> None:
        self._shown = shown
        self._home = home
        self._clock = clock
        self._lines = LineProgress(cast(TextIO, self))
        self._path: Path | None = None
        self._text: list[str] = []
        self._size = 0

    @property
    def text(self) -> str:
        return "".join(self._text)

    def begin(self, run_id: str) -> None:
        """The run has an id now: its file gets what was shown so far."""
        self._path = log_path(self._home, run_id)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _forget_old(self._path.parent, MOST_FILES - 1)
            self._path.write_text(self.text)

    def error(self, text: str) -> None:
        """Keeps the error that ends the run; its caller shows it."""
        print(f"error: {text}", file=cast(TextIO, self))

    def write(self, text: str) -> None:
        """Takes the text of `LineProgress`, line by line."""
        if not text.strip() or self._size >= MOST_BYTES:
            return
        at = datetime.fromtimestamp(self._clock.wall_s(), UTC)
        line = f"{at:%Y-%m-%d %H:%M:%S} {text.rstrip()}\n"
        self._size += len(line.encode())
        if self._size >= MOST_BYTES:
            line = _CUT
        self._text.append(line)
        if self._path is not None:
            with contextlib.suppress(OSError), self._path.open("a") as file:  # a full disk must not end the run
                file.write(line)

    def flush(self) -> None:
        """Each line is on disk already."""

    def step_started(self, name: str) -> None:
        self._shown.step_started(name)
        self._lines.step_started(name)

    def step_finished(self, name: str, seconds: float, detail: str) -> None:
        self._shown.step_finished(name, seconds, detail)
        self._lines.step_finished(name, seconds, detail)

    def step_failed(self, name: str, seconds: float) -> None:
        self._shown.step_failed(name, seconds)
        self._lines.step_failed(name, seconds)

    def epoch_finished(self, epoch: int, num_epochs: int, metrics: Mapping[str, float]) -> None:
        self._shown.epoch_finished(epoch, num_epochs, metrics)
        self._lines.epoch_finished(epoch, num_epochs, metrics)

    def notice(self, text: str) -> None:
        self._shown.notice(text)
        self._lines.notice(text)


def _forget_old(folder: Path, most: int) -> None:
    files = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[most:]:
        path.unlink(missing_ok=True)
