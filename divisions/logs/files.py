"""Reads the logs of a home: the ends of all files, merged by time, and what comes after.

A line that is not whole yet waits for the rest. A file that was replaced is read to its end, then the new one from its
beginning.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from divisions.access.audit_file import NAME as AUDIT
from divisions.deployments import Deployment, latest_of
from divisions.logs.json_lines import older
from divisions.logs.lines import LogLine, of_audit, of_deployments, of_process, of_rollout, of_run

TAIL_BYTES: Final = 4 * 1024 * 1024
"""Of each file, from its end: a hundred times what anybody reads."""
MOST_RUN_LOGS: Final = 20
MOST_DEPLOYMENTS: Final = 100

Parse = Callable[[bytes], LogLine | None]


@dataclass
class Tail:
    """One file that grows.

    Args:
        path: of the file; it need not exist yet.
        parse: a line of it.
    """

    path: Path
    parse: Parse
    _inode: int = 0
    _offset: int = 0
    _rest: bytes = b""

    def lines(self) -> Iterator[LogLine]:
        """What is new since the last call; at first, the end of it."""
        for data in self._new():
            whole, _, self._rest = (self._rest + data).rpartition(b"\n")
            for text in whole.split(b"\n") if whole else ():
                line = self.parse(text)
                if line is not None:
                    yield line

    def _new(self) -> Iterator[bytes]:
        try:
            file = self.path.open("rb")
        except OSError:
            return
        with file:
            status = os.fstat(file.fileno())
            if self._inode not in (0, status.st_ino):
                yield self._end_of_replaced()
                self._offset, self._rest = 0, b""
            if not self._inode:
                self._offset = max(0, status.st_size - TAIL_BYTES)
            elif status.st_size < self._offset:  # It was emptied.
                self._offset, self._rest = 0, b""
            self._inode = status.st_ino
            file.seek(self._offset)
            data = file.read(TAIL_BYTES)
            self._offset += len(data)
            yield data

    def _end_of_replaced(self) -> bytes:
        try:
            with older(self.path).open("rb") as file:
                if os.fstat(file.fileno()).st_ino != self._inode:
                    return b""
                file.seek(self._offset)
                return file.read(TAIL_BYTES)
        except OSError:
            return b""


class HomeLogs:
    """All logs of a home.

    Args:
        home: the folder.
        run_id: the beginning of the id of the only run whose own log is read; empty for the newest runs.
    """

    def __init__(self, home: Path, run_id: str = "") -> None:
        self._home = home
        self._run_id = run_id
        self._tails: dict[Path, Tail] = {}
        self._seen: set[tuple[float, str]] = set()
        self._is_first = True

    def read(self) -> list[LogLine]:
        """What is new since the last call, in the order of time; at first, the ends of all files."""
        self._find()
        found = [line for tail in self._tails.values() for line in tail.lines()]
        for line in of_deployments(self.deployments()):
            if (line.at_s, line.text) not in self._seen:
                self._seen.add((line.at_s, line.text))
                found.append(line)
        self._is_first = False
        return sorted(found, key=lambda line: line.at_s)

    def deployments(self) -> list[Deployment]:
        """The latest ones; none where they cannot be read."""
        try:
            return latest_of(self._home, MOST_DEPLOYMENTS)
        except sqlite3.Error:
            return []

    def _find(self) -> None:
        folder = self._home / "logs"
        for path in sorted(folder.glob("*.jsonl")):
            if path.name.endswith(".1.jsonl") and not self._is_first:
                continue  # Its lines were read under its first name.
            is_rollouts = path.name.startswith("rollouts.")
            self._tails.setdefault(path, Tail(path, of_rollout if is_rollouts else of_process))
        self._tails.setdefault(self._home / AUDIT, Tail(self._home / AUDIT, of_audit))
        runs = (folder / "runs").glob(f"{self._run_id or '*'}{'*' if self._run_id else ''}.log")
        for path in sorted(runs, key=_age_s)[:MOST_RUN_LOGS]:
            self._tails.setdefault(path, Tail(path, functools.partial(of_run, path.stem)))


def _age_s(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
