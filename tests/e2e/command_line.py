"""The command line in a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIVISIONS = [sys.executable, "-m", "divisions.cli"]


def clean_environment() -> dict[str, str]:
    """This process's, without what belongs to another cluster. The checkout's pipeline does not run at 02:00, and a
    request of a machine that stalls is answered late."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("DIVISIONS_", "RAY_"))}
    return {**kept, "DIVISIONS_SCHEDULE": "0", "DIVISIONS_REQUEST_TIMEOUT_MS": "8000"}


def run_divisions(
    environment: Mapping[str, str], *arguments: str, timeout_s: float = 300.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DIVISIONS, *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def start_divisions(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DIVISIONS, *arguments],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
