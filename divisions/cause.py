"""One line out of the long texts that other software gives as the reason of a failure. Pure.

Ray's messages hold whole tracebacks, with the process's number, addresses and colours for terminals. None of that may
reach a caller or a status line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_CHARACTERS = 400
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WORKER = re.compile(r"\([^()]*\b(?:pid|ip)=[^()]*\)\s*|\b(?:pid|ip|actor_id|repr)=[^\s,)]+,?\s*")
_OURS = re.compile(r"\bdivisions\.errors\.\w+: (.*)")


def ours_in(texts: Iterable[str]) -> str:
    """The last of our own errors in a text, which name the remedy too; empty if there is none."""
    found = [match[1] for line in _lines(texts) if (match := _OURS.search(line))]
    return found[-1][:MAX_CHARACTERS] if found else ""


def cause_in(texts: Iterable[str]) -> str:
    r"""The line that names the cause: the last of our own errors, or else the last line.

    >>> cause_in(["Traceback …\ndivisions.errors.BundleError: the bundle is damaged\n"])
    'the bundle is damaged'
    >>> cause_in(["\x1b[36mray::Replica\x1b[39m (pid=12, ip=10.0.0.7)\nMemoryError: no memory"])
    'MemoryError: no memory'
    """
    lines = _lines(texts)
    last = _WORKER.sub("", lines[-1]).strip() if lines else ""
    return ours_in(texts) or last[:MAX_CHARACTERS]


def _lines(texts: Iterable[str]) -> list[str]:
    return [line.strip() for text in texts for line in _COLOURS.sub("", text).splitlines() if line.strip()]
