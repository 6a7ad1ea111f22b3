"""Finds the controller's process of a cluster under test, and waits for the effects of its death."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def controller_pid(home: Path) -> int:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_controller = "ray::ControllerActor" in " ".join(process.cmdline())
            if is_controller and process.environ().get("DIVISIONS_HOME") == str(home):
                return process.pid
    raise AssertionError("no controller process")


def wait(condition: Callable[[], bool], timeout_s: float = 180.0) -> None:
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, "it did not happen in time"
        time.sleep(0.05)
