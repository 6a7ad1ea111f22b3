"""Brings finished spool files into the log's place, in a thread: a place that hangs holds up nothing else.

A file that its place does not take stays on this machine's disk, and is tried again. Files of other places go on.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from router.prediction_log.spool import SpoolFile

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
Put = Callable[[Any, str, str], None]


class Shipper:
    """See the module.

    Args:
        put: writes rows to a place, under a path; raises `OSError` if the place does not take them.
        now_s: monotonic clock.
    """

    def __init__(self, put: Put, now_s: Callable[[], float]) -> None:
        self._put = put
        self._now_s = now_s
        self._waiting: deque[SpoolFile] = deque()
        self._paused_until: dict[str, tuple[float, float]] = {}
        """By place: until when, and how long the next pause is."""
        self._changed = threading.Condition()
        self._is_closing = False
        self._at_work: SpoolFile | None = None
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        self.files = 0
        self.fault = ""

    def start(self) -> None:
        self._thread.start()

    def ship(self, file: SpoolFile) -> None:
        """Takes a file that nothing is added to any more."""
        with self._changed:
            self._waiting.append(file)
            self._changed.notify_all()

    @property
    def waiting_bytes(self) -> int:
        with self._changed:
            return sum(file.size for file in self._waiting) + (self._at_work.size if self._at_work else 0)

    def close(self, timeout_s: float) -> None:
        """Waits until everything is in its place, one attempt each; what is not by then waits for the next writer."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def turn(self) -> bool:
        """Tries the first file whose place is not paused; returns whether there was one."""
        with self._changed:
            file = self._next()
            self._at_work = file
        if file is None:
            return False
        is_done = False
        try:
            is_done = self._bring(file)
        finally:
            with self._changed:
                self._at_work = None
                if not is_done:
                    self._waiting.append(file)
        return True

    def _next(self) -> SpoolFile | None:
        now_s = self._now_s()
        for file in self._waiting:
            until_s, _ = self._paused_until.get(file.place, (0.0, 0.0))
            if until_s <= now_s:
                self._waiting.remove(file)
                return file
        return None

    def _bring(self, file: SpoolFile) -> bool:
        try:
            table, target = file.read()
            file.place, _, path = target.partition("\n")
            if table is not None:
                self._put(table, file.place, path)
                self.files += 1
        except OSError as error:
            self._pause(file.place, str(error))
            return False
        except Exception as error:  # A file that cannot be read or written today may be tomorrow; its rows are kept.
            log.exception("%s could not be brought to %s", file.path, file.place or "its place")
            self._pause(file.place, f"{type(error).__name__}: {error}")
            return False
        file.remove()
        self.fault = ""
        self._paused_until.pop(file.place, None)
        return True

    def _pause(self, place: str, fault: str) -> None:
        _, pause_s = self._paused_until.get(place, (0.0, FIRST_PAUSE_S))
        self._paused_until[place] = (self._now_s() + pause_s, min(2 * pause_s, LONGEST_PAUSE_S))
        if fault != self.fault:
            log.warning("the prediction log's files stay on this machine, %s does not take them: %s", place, fault)
        self.fault = fault

    def _run(self) -> None:
        while True:
            if self.turn():
                continue
            with self._changed:
                if self._is_closing:
                    return
                self._changed.wait(FIRST_PAUSE_S / 2)
