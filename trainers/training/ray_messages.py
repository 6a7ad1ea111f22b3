"""Ray's messages to the driver: one line of ours for each, and Ray's own text in a log of the home.

Ray prints them to standard output as they come, in paragraphs. There is no setting for it, so the function that prints
them is replaced. `tests/e2e/test_trainers.py` notices if another release of Ray prints them elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divisions.progress import Progress
from trainers.training.ray_deaths import told

LOG = "ray-messages.log"


@dataclass(slots=True)
class RayMessages:
    """Takes Ray's messages. Messages come from threads of Ray."""

    log: Path
    progress: Progress
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _shown: set[str] = field(default_factory=set)

    def take(self, data: Mapping[str, Any], ignore_prefix: bool = False) -> None:
        """Shows one line for a message, once, and keeps the whole text. Has the signature of Ray's own function."""
        for message in data.get("lines", ()):
            with self._lock:
                self.keep(str(message))
                line = told(str(message))
                if line in self._shown:
                    continue
                self._shown.add(line)
                self.progress.notice(f"{line} (Ray's own text is in {self.log})")

    def keep(self, text: str) -> None:
        """Appends Ray's own text to the log. A full disk must not end the run."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text.rstrip("\n") + "\n")
        except OSError as error:
            self.progress.notice(f"{self.log} cannot be written: {error.strerror}")


def take_messages(messages: RayMessages) -> None:
    """From now on, Ray's messages go to ``messages``. Call it before the connection to the cluster."""
    from ray._private import worker

    printing: Callable[..., None] = messages.take
    worker.print_to_stdstream = printing
