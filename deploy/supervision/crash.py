"""Why a cluster crashed, or did not start: from the log of its processes. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Collection, Iterable, Sequence

_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d+\s+(?P<level>[A-Z]+)\s+\S+ -- ?(?P<text>.*)$")
"""``ray start --log-style=record``: time, level, file and line, text."""
_EXCEPTION = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Timeout|Interrupt)\b:? ?.*$")
"""The last line of a traceback."""
_PREFIXED = re.compile(r"^error: (?P<text>.*)$")
_SERIOUS = frozenset({"ERR", "ERROR", "CRITICAL", "FATAL", "PANIC"})
_EXIT = re.compile(r"(?P<name>\w+) \[exit code=(?P<code>-?\d+)\]")
_OUT_OF_TIME = "timed out during startup"
"""Ray gives its raylet 30 s, which cannot be set."""
_LONGEST = 300


class CrashError(Exception):
    """The cluster does not start, or no longer runs. The message is the reason."""


def is_out_of_time(reason: str) -> bool:
    """Whether Ray gave up because the machine was too slow: another attempt may succeed."""
    return _OUT_OF_TIME in reason


def reason_of_end(lines: Sequence[str], otherwise: str, dead: Collection[str] = ()) -> str:
    """The reason that a log gives for an end; ``otherwise`` when it gives none.

    ``dead`` are the vital processes that are dead. Others that the log reports have only followed them.

    >>> reason_of_end(["  gcs_server [exit code=-9]", "Remaining processes will be killed."], "")
    'gcs_server was killed by SIGKILL'
    """
    exits = find_exits(lines)
    names = [name for name in exits if not dead or name in dead]
    if not names:
        return otherwise if dead else find_cause(lines) or otherwise
    name = names[0]
    status = exits[name]
    if status >= 0:
        return f"{name} ended with status {status}"
    try:
        return f"{name} was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"{name} was killed by signal {-status}"


def find_cause(lines: Iterable[str]) -> str:
    """The last line of a serious level, or the last line of a traceback; empty when there is none.

    A line of level INFO or WARNING is never the cause, whatever words it contains.

    >>> find_cause(["2026-01-01 00:00:00,1\\tINFO node.py:1 -- Failed to get node info: error"])
    ''
    >>> find_cause(["OSError: no space", "2026-01-01 00:00:00,1 INFO a.py:1 -- x"])
    'OSError: no space'
    """
    cause = ""
    for line in lines:
        text = line.strip()
        if record := _RECORD.match(text):
            if record["level"] in _SERIOUS and record["text"].strip():
                cause = record["text"].strip()
        elif prefixed := _PREFIXED.match(text):
            cause = prefixed["text"]
        elif _EXCEPTION.match(text):
            cause = text
    return cause[:_LONGEST]


def find_exits(lines: Iterable[str]) -> dict[str, int]:
    """The processes of Ray that ended, in order, and their exit statuses (negative: the signal that killed one)."""
    exits: dict[str, int] = {}
    for line in lines:
        if found := _EXIT.search(line):
            exits.setdefault(found["name"], int(found["code"]))
    return exits
