"""Which columns there must be, and which ones are left out by the pipeline file. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from divisions.errors import MissingColumnError
from divisions.pipeline.definition import Features

_WILD = frozenset("*?[")


def require_columns(uri: str, present: Sequence[str], features: Features, label: str) -> None:
    """Raises:
    MissingColumnError: the entity, event time, label or a declared feature is not in the data.
    """
    # With definitions, the lists name features, not columns.
    declared = () if features.define else (*features.numeric, *features.categorical, *features.boolean)
    roles = {features.entity: ("entity", "entity")}
    if features.label.absence is None:
        roles[label] = ("label", "label")
    if not features.event_time_constant:
        roles[features.event_time] = ("event time", "event_time")
    for name in (*roles, *declared):
        if name in present:
            continue
        near = difflib.get_close_matches(name, present, n=1, cutoff=0.5)
        hint = f" (nearest: {near[0]!r})" if near else ""
        if name not in roles:
            what, remedy = f"the declared feature {name!r}", f"correct the name under features{hint}"
        else:
            role, key = roles[name]
            what, remedy = f"the {role} column {name!r}", f"add the column, or set features.{key}{hint}"
            if key == "event_time":
                remedy += '; a table without one takes event_time: {constant: "${today}"}'
        raise MissingColumnError(f"input {uri} lacks {what}; it has {', '.join(sorted(present))}", remedy=remedy)
    _require_defined(uri, present, features)


def _require_defined(uri: str, present: Sequence[str], features: Features) -> None:
    used = [
        (f"features.define.{one.name}", one.line, name)
        for one in features.define
        for name in (one.column, *(condition.column for condition in one.where))
    ]
    if features.label.absence:
        used += [("features.label", 0, condition.column) for condition in features.label.absence.where]
    for key, line, name in used:
        if name not in present:
            near = difflib.get_close_matches(name, present, n=1, cutoff=0.5)
            place = f"line {line} of the pipeline file" if line else "the pipeline file"
            raise MissingColumnError(
                f"input {uri} lacks the column {name!r} of {key}; it has {', '.join(sorted(present))}",
                remedy=f"correct {place}{f' (nearest: {near[0]!r})' if near else ''}, or add the column",
            )


def excluded(features: Features, label: str, names: Iterable[str]) -> tuple[frozenset[str], list[str]]:
    """The columns that ``features.exclude`` takes, and notes on what its entries took.

    An entry is the name of a column, else a pattern. A pattern takes no column that has another role or is declared.
    """
    names = list(names)
    kept = {features.entity, label, features.event_time, *features.numeric, *features.categorical, *features.boolean}
    taken: set[str] = set()
    notes = []
    for entry in features.exclude:
        if entry in names:
            taken.add(entry)
            continue
        found = [name for name in names if name not in kept and fnmatchcase(name, entry)] if _WILD & set(entry) else []
        taken.update(found)
        near = difflib.get_close_matches(entry, names, n=1, cutoff=0.6)
        nearest = f" (nearest: {near[0]!r})" if near else ""
        what = f"takes {', '.join(map(repr, found))}" if found else f"takes no column{nearest}"
        notes.append(f"features.exclude: {entry!r} {what}")
    return frozenset(taken), notes
