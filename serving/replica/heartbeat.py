"""The heartbeat that keeps a replica registered with the controller. Its own thread never delays a batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

BEAT_S = 1.0
"""A controller that was down for less than one beat gets the next heartbeat within one beat."""
RETRY_S = 0.25

log = logging.getLogger(__name__)


class Heartbeat:
    """Calls ``beat`` every `BEAT_S`, and every `RETRY_S` while it fails, until it is stopped.

    ``beat`` returns within a few seconds whether the controller received it. An exception counts as not received and
    does not end the thread: otherwise a healthy replica would never get traffic again.
    """

    def __init__(self, beat: Callable[[], bool], wait: Callable[[float], bool] | None = None) -> None:
        self._beat = beat
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._thread = threading.Thread(target=self.run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        was_heard = True
        while True:
            try:
                is_heard = self._beat()
            except Exception:  # the edge of the loop
                log.exception("the heartbeat failed")
                is_heard = False
            if is_heard != was_heard:
                log.info("the controller hears us again" if is_heard else "the controller does not hear us")
                was_heard = is_heard
            if self._wait(BEAT_S if is_heard else RETRY_S):
                return
