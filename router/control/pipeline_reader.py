"""Reads the pipeline files for the page: their text without secrets, and when they run next."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from divisions.errors import PipelineError
from divisions.house_rows import LastRun, PipelineFile
from divisions.schedule.decisions import next_run_s
from divisions.schedule.folder import PIPELINES, PipelineFiles, files_of, first_line
from divisions.schedule.state import Entry, Schedule
from router.control import counting
from router.house.redaction import redacted

MOST: Final = 100
MOST_BYTES: Final = 32_768
MOST_BYTES_OF_ALL: Final = 131_072
"""Files after that are listed without their text."""


class PipelineReader:
    """Those with a schedule, and those of the folder that ``divisions up`` watches, where the home is beside it.

    Args:
        home: the home of the controller.
    """

    def __init__(self, home: Path) -> None:
        self._root = home.parent.parent
        self._folder = self._root / PIPELINES if home.parent == self._root / PIPELINES.parent else None
        self._files = PipelineFiles()

    def read(self, schedule: Schedule, now_s: float) -> tuple[PipelineFile, ...]:
        """At most `MOST`, scheduled ones first. A file that cannot be read has a fault."""
        states = {each.pipeline: each for each in counting.pipelines(schedule, now_s)}
        rows = [
            msgspec.structs.replace(
                _scheduled(entry, now_s),
                is_running=states[entry.pipeline].is_running,
                is_active=states[entry.pipeline].is_active,
                lag_s=round(states[entry.pipeline].lag_s),
            )
            for entry in schedule.entries
        ]
        known = {row.path for row in rows}
        others = files_of(self._folder) if self._folder is not None else ()
        rows += [self._unscheduled(path) for path in others if path not in known]
        return self._with_texts(rows[:MOST])

    def _unscheduled(self, path: str) -> PipelineFile:
        content = self._files.read(path)
        if isinstance(content, PipelineError):
            return PipelineFile(Path(path).stem, path, fault=first_line(content))
        return PipelineFile(content.name, path)

    def _with_texts(self, rows: list[PipelineFile]) -> tuple[PipelineFile, ...]:
        found, left = [], MOST_BYTES_OF_ALL
        for row in rows:
            text, fault = _text_of(Path(row.path), min(left, MOST_BYTES))
            left -= len(text or "")
            shown = self._shown(row.path)
            name, fault = _encodable(row.pipeline), _encodable(row.fault or fault)
            found.append(msgspec.structs.replace(row, pipeline=name, path=shown, text=text, fault=fault))
        return tuple(found)

    def _shown(self, path: str) -> str:
        """Without the folders above: they tell of the machine, not of the pipeline."""
        full = Path(path)
        return _encodable(str(full.relative_to(self._root)) if full.is_relative_to(self._root) else full.name)


def _encodable(text: str) -> str:
    """Names of files may be no text at all, and JSON has only text."""
    return text.encode("utf-8", "replace").decode()


def _scheduled(entry: Entry, now_s: float) -> PipelineFile:
    last = entry.last
    ended = LastRun(last.fire_s, last.outcome.value, redacted(last.message), last.run_id) if last is not None else None
    return PipelineFile(
        entry.pipeline,
        entry.path,
        is_scheduled=True,
        expression=entry.expression,
        zone=entry.zone,
        next_run_s=next_run_s(entry, now_s),
        is_paused=entry.is_paused,
        fault=entry.fault,
        last=ended,
    )


def _text_of(path: Path, most: int) -> tuple[str | None, str]:
    """The text, or None and why."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        return None, f"the file cannot be read: {error.strerror}"
    if len(data) > most:
        return None, "the file is too long to be shown"
    return redacted(data.decode("utf-8", "replace")), ""
