"""The audit log: who did what, when, from where, and what came of it. Each line's hash covers the line before. Pure.

A line is one JSON object in one way of writing it, so any byte that differs is found by its line's hash. A line that is
missing, added or moved is found by the hash of the one before, and missing lines at the end by the head: a second
file, which repeats the last number and hash. Whoever can write both files can write a new history. To hold against
that, ship the lines elsewhere as they come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

START = "0" * 64
"""What the first line has for the hash of the one before."""


class AuditEvent(msgspec.Struct, frozen=True, omit_defaults=False):
    """One step of an action. ``outcome`` is ``asked`` before it, then ``done``, or ``refused`` with the ``reason``.

    ``before`` and ``after`` say how the rollout stood, in a line; empty where there is none.
    """

    at_s: float
    who: str
    role: str
    address: str
    action: str
    subject: str
    outcome: str
    before: str = ""
    after: str = ""
    reason: str = ""


class AuditLine(msgspec.Struct, frozen=True):
    """``seq`` counts from 1. ``hash`` is of the whole line with an empty hash."""

    seq: int
    prev: str
    event: AuditEvent
    hash: str = ""


class AuditHead(msgspec.Struct, frozen=True):
    """The last line that was known to be on disk."""

    seq: int = 0
    hash: str = START


class Verified(msgspec.Struct, frozen=True):
    """``fault`` says what is wrong, and in which line; empty if nothing is. ``lines`` are those before it."""

    lines: tuple[AuditLine, ...]
    fault: str = ""
    is_cut_off: bool = False
    """Whether the last line is incomplete: its writer was killed. What it would have said was not acknowledged."""


def encode(head: AuditHead, event: AuditEvent) -> tuple[bytes, AuditHead]:
    """The next line after ``head``, and the head after it."""
    bare = AuditLine(head.seq + 1, head.hash, event)
    line = msgspec.structs.replace(bare, hash=_hash(bare))
    return msgspec.json.encode(line) + b"\n", AuditHead(line.seq, line.hash)


def verify(data: bytes, head: AuditHead | None) -> Verified:
    """Checks a whole log against its head; None is one that is missing."""
    whole, _, rest = data.rpartition(b"\n")
    lines: list[AuditLine] = []
    last = AuditHead()
    for number, text in enumerate(whole.split(b"\n") if whole else (), 1):
        line = _read(text)
        if line is None or line.seq != last.seq + 1 or line.prev != last.hash or line.hash != _hash(line):
            return Verified(tuple(lines), f"line {number} is not as it was written, or not where it was", bool(rest))
        lines.append(line)
        last = AuditHead(line.seq, line.hash)
    return Verified(tuple(lines), _unlike(lines, head), bool(rest))


def _unlike(lines: list[AuditLine], head: AuditHead | None) -> str:
    """How a log whose lines are in order differs from its head. The head may be a line behind: it is written after."""
    if head is None:
        return "its head is missing" if lines else ""
    if head.seq > len(lines):
        return f"{head.seq - len(lines)} lines are missing at its end"
    if len(lines) - head.seq > 1:
        return f"{len(lines) - head.seq} lines at its end are unknown to its head"
    if head.seq and lines[head.seq - 1].hash != head.hash:
        return f"line {head.seq} is another one than its head knows"
    return ""


def _read(text: bytes) -> AuditLine | None:
    try:
        line = msgspec.json.decode(text, type=AuditLine)
        return line if msgspec.json.encode(line) == text else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _hash(line: AuditLine) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(line, hash=""))).hexdigest()


def chosen(lines: Iterable[AuditLine], who: str, subject: str, limit: int) -> list[AuditLine]:
    """The newest lines of one principal or about one endpoint, oldest first; empty texts stand for all."""
    found = [line for line in lines if who in {"", line.event.who} and subject in {"", line.event.subject}]
    return found[-limit:]
