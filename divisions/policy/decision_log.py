"""The decision log: what an engine was asked and what it decided, as lines of JSON in ``decisions.jsonl`` of the home.

The question is there by its digest only, because it has people and data in it. A decision that repeats the last one
about the same is written once a minute, with how often it was made: a rollout that waits asks every second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Final, Protocol

import msgspec

from divisions.clock import Clock
from divisions.policy.engine import Decision, PolicyEngine, Query, Reason
from divisions.policy.facts import AccessFacts

log = logging.getLogger(__name__)

MAX_BYTES: Final = 10 * 1024 * 1024
REPEAT_S: Final = 60.0
_MOST_SUBJECTS: Final = 1_000


class DecisionLine(msgspec.Struct, frozen=True):
    """One decision. ``repeats`` is how often the same one was made since the line before, unwritten."""

    at_s: float
    kind: str
    who: str
    subject: str
    allow: bool
    reasons: tuple[Reason, ...]
    input_digest: str
    policy_digest: str
    ms: float
    repeats: int = 0


class DecisionLog:
    """Appends to a file. When that is full, it is renamed, so there are at most two."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_failing = False

    def append(self, line: DecisionLine) -> None:
        """Writes a line, if it can be written. A full disk stops no decision; the audit log has its own rule."""
        data = msgspec.json.encode(line) + b"\n"
        try:
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_size + len(data) > MAX_BYTES:
                    self._path.replace(self._path.with_name(self._path.name + ".1"))
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                log.error("the decision log %s cannot be written: %s", self._path, error.strerror)
            self._is_failing = True


class Engine(PolicyEngine, Protocol):
    """An engine that has processes or connections, and knows its rules."""

    @property
    def digest(self) -> str:
        """Of the rules; empty if it is not known before they decide."""
        ...

    def close(self) -> None:
        """Ends them."""
        ...


class LoggedEngine:
    """Decides by another engine, and logs it."""

    def __init__(self, engine: Engine, lines: DecisionLog, clock: Clock) -> None:
        self._engine = engine
        self._lines = lines
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str, str], DecisionLine] = {}
        self._repeats: dict[tuple[str, str, str], int] = {}

    @property
    def digest(self) -> str:
        """See `Engine`."""
        return self._engine.digest

    @property
    def fault(self) -> str:
        """Why the rules of the folder are not those that decide, and what does; empty if they are."""
        return getattr(self._engine, "report", "")

    def decide(self, query: Query) -> Decision:
        """See `PolicyEngine`."""
        began_s = self._clock.monotonic_s()
        decision = self._engine.decide(query)
        ms = round((self._clock.monotonic_s() - began_s) * 1e3, 3)
        self._note(query, decision, ms)
        return decision

    def close(self) -> None:
        """See `Engine`."""
        self._engine.close()

    def _note(self, query: Query, decision: Decision, ms: float) -> None:
        facts = query.input
        if isinstance(facts, AccessFacts):
            who, subject = facts.principal.name, f"{facts.action} {facts.endpoint}".strip()
        else:
            who, subject = facts.requester.name, f"{facts.endpoint} {facts.version}"
        line = DecisionLine(
            self._clock.wall_s(), query.kind.value, who, subject, decision.allow, decision.reasons,
            query.digest(), decision.policy_digest, ms,
        )  # fmt: skip
        key = (line.kind, who, subject)
        with self._lock:
            last = self._last.get(key)
            if last is not None and _is_repeat(last, line):
                self._repeats[key] = self._repeats.get(key, 0) + 1
                return
            if len(self._last) >= _MOST_SUBJECTS:
                self._last.clear()
                self._repeats.clear()
            self._last[key] = line
            self._lines.append(msgspec.structs.replace(line, repeats=self._repeats.pop(key, 0)))


def _is_repeat(last: DecisionLine, line: DecisionLine) -> bool:
    if not 0 <= line.at_s - last.at_s < REPEAT_S or line.kind == "rbac":
        return False
    return (last.allow, last.reasons, last.policy_digest) == (line.allow, line.reasons, line.policy_digest)
