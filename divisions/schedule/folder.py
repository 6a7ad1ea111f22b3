"""Which pipelines are scheduled: those of the folder that ``divisions up`` watches, and those that were added.

Files are read again when they change, so that a new trigger counts from then on. A file that is broken or gone keeps
its entry, with the reason, and its times are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from divisions.errors import PipelineError
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.file import load_pipeline
from divisions.schedule.decisions import new_entry, read_again
from divisions.schedule.state import Entry, Schedule

PIPELINES = Path(".divisions/pipeline")
"""The folder of pipeline files, below the one that ``divisions up`` was started in."""
_SUFFIXES = {".yaml", ".yml"}

FileContent = Pipeline | PipelineError


@dataclass
class PipelineFiles:
    """Reads pipeline files, each again only when it has changed."""

    _known: dict[str, tuple[tuple[int, ...], FileContent]] = field(default_factory=dict)

    def read(self, path: str) -> FileContent:
        mark: tuple[int, ...] = ()
        try:
            status = Path(path).stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            pass
        known = self._known.get(path)
        if known is None or known[0] != mark or not mark:
            self._known[path] = known = (mark, _read(path))
        return known[1]


def _read(path: str) -> FileContent:
    try:
        return load_pipeline(Path(path))
    except PipelineError as error:
        return error


def files_of(folder: Path) -> tuple[str, ...]:
    """The pipeline files of a folder, absolute and in order; empty if there is none."""
    try:
        return tuple(sorted(str(path.absolute()) for path in folder.iterdir() if path.suffix in _SUFFIXES))
    except OSError:
        return ()


def observe(schedule: Schedule, root: Path, contents: Mapping[str, FileContent], now_s: float) -> Schedule:
    """The schedule by what the files say now.

    Args:
        schedule: as it was.
        root: the folder that ``divisions up`` was started in.
        contents: of the files in its `PIPELINES`, and of those that have an entry.
        now_s: the present time.
    """
    folder = root / PIPELINES
    notes: list[str] = []
    kept = tuple(each for each in schedule.entries if each.is_added or each.run or Path(each.path).parent == folder)
    schedule = msgspec.structs.replace(schedule, entries=kept)
    for entry in schedule.entries:
        changed = _observed(entry, contents[entry.path], now_s)
        schedule = schedule.with_entry(changed) if changed is not None else schedule.without(entry.pipeline)
    with_entries = {entry.path for entry in schedule.entries}
    for path, content in contents.items():
        if path in with_entries or Path(path).parent != folder:
            continue
        if isinstance(content, PipelineError):
            notes.append(first_line(content))
        elif content.trigger is not None:
            present = schedule.find(content.name)
            if present is not None and not _is_elsewhere_now(present, contents):
                notes.append(f"{path}: the pipeline {content.name} is scheduled by {present.path}")
                continue
            moved = msgspec.structs.replace(present, path=path, fault="") if present is not None else None
            entry = moved or new_entry(content.name, path, content.trigger, now_s, is_added=False)
            schedule = schedule.with_entry(read_again(entry, content.trigger, now_s))
    return msgspec.structs.replace(schedule, notes=tuple(notes))


def _is_elsewhere_now(entry: Entry, contents: Mapping[str, FileContent]) -> bool:
    """Whether a file of the folder was renamed: its pipeline is no longer where it was."""
    content = contents[entry.path]
    return not entry.is_added and (isinstance(content, PipelineError) or content.name != entry.pipeline)


def _observed(entry: Entry, content: FileContent, now_s: float) -> Entry | None:
    """The entry by its file; None if it is to be forgotten."""
    if isinstance(content, PipelineError):
        return msgspec.structs.replace(entry, fault=first_line(content))
    if content.name != entry.pipeline:
        return _without_file(entry, f"{entry.path} is of the pipeline {content.name} now")
    if content.trigger is None:
        return _without_file(entry, f"{entry.path} has no trigger any more")
    return read_again(entry, content.trigger, now_s)


def _without_file(entry: Entry, fault: str) -> Entry | None:
    """A file of the folder that says so itself ends its schedule; what a user has added waits for the user."""
    return msgspec.structs.replace(entry, fault=fault) if entry.is_added or entry.run else None


def first_line(error: PipelineError) -> str:
    """The first problem of a file, and how many more it has."""
    first, *others = str(error).splitlines()
    return f"{first} (and {len(others)} more)" if others else first
