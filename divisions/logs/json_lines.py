"""What a process logs, as lines of JSON in ``<home>/logs``: a file per kind of process, which its processes share.

Each line is written by one call with ``O_APPEND``, so lines of several processes do not mix. A file that is full is
renamed; whoever writes next begins a new one. So of each kind there are at most two files of `MAX_BYTES`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from pathlib import Path
from typing import Any, Final

import msgspec

from divisions.clock import SystemClock

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_TEXT: Final = 4_000
MOST_WAITING: Final = 1_000
FLUSH_S: Final = 1.0
_FIELDS: Final = "fields"
_OURS: Final = ("router", "divisions", "serving", "deploy")


def fields(**values: Any) -> dict[str, Any]:
    """The ``extra`` of a log call whose line has these members, too."""
    return {_FIELDS: values}


class JsonLines(logging.Handler):
    """See the module. A thread writes, so that a disk that hangs stops nobody who logs. Lines that cannot be written,
    or are too many, are lost; the next line that is written tells how many were.

    Args:
        path: of the file.
        process: the kind of process, such as ``gateway``.
        name: which one of that kind; empty if there is one.
    """

    def __init__(self, path: Path, process: str, name: str = "") -> None:
        super().__init__(logging.INFO)
        self._path = path
        self._process = process
        self._name = name
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.put_nowait(self._line(record))
        except Exception:  # noqa: BLE001  # Full, or what cannot be encoded: a log call must never fail.
            self._lost += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="log-lines", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Waits until all is written, for `FLUSH_S` at most."""
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, FLUSH_S)

    def close(self) -> None:
        self.flush()
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
            self._thread.join(FLUSH_S)
            self._thread = None
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        given = getattr(record, _FIELDS, {})
        said = str(given.get("detail", "")) or record.getMessage()
        line = self._members(record.created, record.levelname.lower(), record.name, said)
        if record.exc_info:
            line["trace"] = logging.Formatter().formatException(record.exc_info)[-MAX_TEXT:]
        return msgspec.json.encode({**given, **line}, enc_hook=str) + b"\n"

    def _members(self, at_s: float, level: str, logger: str, text: str) -> dict[str, Any]:
        who = {"process": self._process, "name": self._name, "pid": os.getpid(), "logger": logger}
        return {"at_s": round(at_s, 3), "level": level, **who, "text": text[:MAX_TEXT]}

    def _write_all(self) -> None:
        while (line := self._waiting.get()) is not None:
            lost, self._lost = self._lost, 0
            try:
                if lost:
                    told = self._members(
                        SystemClock().wall_s(), "warning", __name__, f"{lost} lines were lost before this one"
                    )
                    line = msgspec.json.encode(told) + b"\n" + line
                self._write(line)
            except Exception:  # noqa: BLE001  # The edge of a loop: the next line tells.
                self._lost += lost + 1
            finally:
                self._waiting.task_done()

    def _write(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size >= MAX_BYTES:
                # Two processes may both rename: then the second moves a file that has just begun. Its lines stay.
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self._path, older(self._path))
                os.close(descriptor)
                descriptor = os.open(self._path, flags, 0o600)
            if os.write(descriptor, line) < len(line):
                raise OSError("the disk is full")
        finally:
            os.close(descriptor)


def older(path: Path) -> Path:
    """Where a full file goes."""
    return path.with_suffix(".1.jsonl")


def log_to(home: Path, process: str, name: str = "") -> JsonLines:
    """Has this process log to the home, beside what it logs elsewhere; returns the handler."""
    folder = home / "logs"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = JsonLines(folder / f"{process}.jsonl", process, name)
    for package in _OURS:
        logging.getLogger(package).addHandler(handler)
    return handler
