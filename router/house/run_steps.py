"""Which steps a run has done, read from its log (`divisions.run_log`). Pure.

>>> steps_of("2026-11-27 02:00:01 Train ...\\n2026-11-27 02:00:09 Train: done in 8.0 s (50 epochs)\\n")
(RunStep(name='Train', began_s=1795744801.0, ended_s=1795744809.0, has_failed=False, detail='50 epochs'),)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

_LINE: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S.*)")
_BEGUN: Final = re.compile(r"(.+) \.\.\.")
_DONE: Final = re.compile(r"(.+): done in [\d.]+ s(?: \((.*)\))?")
_FAILED: Final = re.compile(r"(.+): failed after [\d.]+ s")


@dataclass(frozen=True, slots=True)
class RunStep:
    """``ended_s`` is None while it goes on, or if the run was killed in it."""

    name: str
    began_s: float
    ended_s: float | None = None
    has_failed: bool = False
    detail: str = ""


def steps_of(text: str) -> tuple[RunStep, ...]:
    """The steps in the order in which they began. Lines that are no step are left out."""
    steps: list[RunStep] = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        at_s = _time_s(found[1]) if found is not None else None
        if found is None or at_s is None:
            continue
        said = found[2]
        if begun := _BEGUN.fullmatch(said):
            steps.append(RunStep(begun[1], at_s))
        elif steps and (ended := _DONE.fullmatch(said) or _FAILED.fullmatch(said)) and ended[1] == steps[-1].name:
            is_done = _FAILED.fullmatch(said) is None
            detail = (ended[2] or "") if is_done else ""
            steps[-1] = replace(steps[-1], ended_s=at_s, has_failed=not is_done, detail=detail)
    return tuple(steps)


def _time_s(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
