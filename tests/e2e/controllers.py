"""The controller's process of a cluster under test, and waiting for what its death brings about."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def controller_pid(home: Path) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"ray::ControllerActor" in command and f"DIVISIONS_HOME={home}\0".encode() in environment:
            return int(folder.name)
    raise AssertionError("no controller process")


def wait(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, "it did not come about in time"
        time.sleep(0.05)
