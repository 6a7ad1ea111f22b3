"""Lines of a home's logs, whatever wrote them: one form, and which are wanted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from divisions.deployments import Deployment

_IDS: Final = ("endpoint", "status", "request_id", "trace_id", "run_id")
_LAST_S: Final = 1e11
"""Later than any clock: what lies beyond is no time."""
LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line. ``source`` is a kind of process, or ``rollout``, ``audit``, ``run``, ``deployment``.

    ``facts`` has what else the line tells, such as ``endpoint``, ``request_id`` or ``run_id``.
    """

    at_s: float
    source: str
    level: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are wanted; what is empty is not asked for. A run is named by the beginning of its id.

    ``since_s`` and ``until_s`` bound the time. ``level`` is the least.
    """

    endpoint: str = ""
    run_id: str = ""
    request_id: str = ""
    deployment: int | None = None
    level: str = "debug"
    since_s: float = 0.0
    until_s: float = float("inf")

    def takes(self, line: LogLine) -> bool:
        """Whether a line is wanted."""
        facts = line.facts
        if not self.since_s <= line.at_s <= self.until_s or _rank(line.level) < _rank(self.level):
            return False
        if self.deployment is not None:
            return facts.get("deployment") == self.deployment or (
                bool(self.endpoint) and facts.get("endpoint") == self.endpoint
            )
        if self.request_id:
            return facts.get("request_id") == self.request_id
        if self.run_id:
            return str(facts.get("run_id", "")).startswith(self.run_id)
        return not self.endpoint or facts.get("endpoint") == self.endpoint


def _rank(level: str) -> int:
    """Levels that are not known count as the one that everybody sees."""
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("info")


def of_process(text: bytes) -> LogLine | None:
    """A line of `divisions.logs.json_lines`; None if it is none, as a line that was cut off."""
    found = _object(text)
    at_s = _time_of(found)
    if at_s is None:
        return None
    level, said, source = (str(found.pop(name, "")) for name in ("level", "text", "process"))
    return LogLine(at_s, source, level, said, found)


def of_rollout(text: bytes) -> LogLine | None:
    """A line of ``rollouts.jsonl``."""
    found = _object(text)
    at_s = _time_of(found)
    if at_s is None:
        return None
    said, kind = str(found.pop("message", "")), str(found.get("kind", ""))
    level = "warning" if kind in ("ROLLBACK_INTENT", "HELD") else "info"
    return LogLine(at_s, "rollout", level, f"{found.get('endpoint')}: {said or kind}", found)


def of_audit(text: bytes) -> LogLine | None:
    """A line of ``audit.jsonl``."""
    event = _object(text).get("event")
    at_s = _time_of(event) if isinstance(event, dict) else None
    if at_s is None or not isinstance(event, dict):
        return None
    who, action, subject, outcome = (str(event.get(name, "")) for name in ("who", "action", "subject", "outcome"))
    reason = f": {event['reason']}" if event.get("reason") else ""
    level = "warning" if outcome == "refused" else "info"
    facts = {**event, "endpoint": subject}
    return LogLine(at_s, "audit", level, f"{who} {action} {subject}: {outcome}{reason}", facts)


def of_run(run_id: str, text: bytes) -> LogLine | None:
    """A line of a run's own log (`divisions.run_log`)."""
    said = text.decode("utf-8", "replace").rstrip("\n")
    try:
        at_s = datetime.strptime(said[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    said = said[20:]
    level = "error" if said.startswith("error: ") or ": failed after " in said else "info"
    return LogLine(at_s, "run", level, said, {"run_id": run_id, "name": run_id[:8]})


def of_deployments(found: Iterable[Deployment]) -> list[LogLine]:
    """What deployments did, step by step."""
    lines = []
    for each in found:
        facts = {"deployment": each.number, "endpoint": each.endpoint, "target": each.target, "version": each.version}
        head = f"deployment {each.number} of {each.model} {each.version} to {each.target}"
        lines.append(LogLine(each.began_s, "deployment", "info", f"{head} by {each.who}", facts))
        for step in each.steps:
            lines.append(LogLine(step.began_s, "deployment", "info", f"{step.title} ...", facts))
            if step.ended_s is not None:
                mark, said, level = ("✗", step.error, "error") if step.error else ("✓", step.detail, "info")
                text = f"{mark} {step.title}{f': {said}' if said else ''}"
                lines.append(LogLine(step.ended_s, "deployment", level, text, facts))
        if each.ended_s is not None:
            lines.append(LogLine(each.ended_s, "deployment", "info", f"{head}: {each.ending}", facts))
    return lines


def rendered(line: LogLine) -> str:
    """For people: time in UTC, where it comes from, what it says, and the ids that it has."""
    at = datetime.fromtimestamp(line.at_s, UTC)
    level = f" {line.level.upper()}" if _rank(line.level) > _rank("info") else ""
    name = line.facts.get("name")
    source = f"{line.source} {name}" if name else line.source
    ids = [f"{key}={line.facts[key]}" for key in _IDS if line.facts.get(key)] if "pid" in line.facts else []
    tail = f" [{' '.join(ids)}]" if ids else ""
    head = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {source}{level}: {line.text}{tail}"
    return "\n".join(_printable(each) for each in (head, *str(line.facts.get("trace", "")).splitlines()))


def _printable(text: str) -> str:
    """A terminal must not obey what a caller has put into a request."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def as_json(line: LogLine) -> dict[str, Any]:
    """For programs."""
    own = {"at_s": line.at_s, "source": line.source, "level": line.level, "text": line.text}
    return {**line.facts, **own}


def _time_of(members: dict[str, Any]) -> float | None:
    """Takes the time out of a line; None if it has none that can be."""
    at_s = members.pop("at_s", None)
    return float(at_s) if isinstance(at_s, int | float) and 0 <= at_s < _LAST_S else None


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
