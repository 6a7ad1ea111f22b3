"""``make test``: the whole suite with two workers, then once more, alone, the few tests that failed.

Tests of real processes have deadlines. On a machine that others use, too, one of thousands may miss one. A fault of the
product fails alone as well. A test that passes only alone is named at the end: it waits for too little, or there is a
race, and it must be mended. More than `FEW` failures are no accident: then nothing is run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FEW = 6
_FAILED = Path(".pytest_cache/v/cache/lastfailed")
_TESTS_FAILED = 1
"""pytest's exit status when tests ran and some failed; all others mean that something else is wrong."""


def is_worth_another_run(status: int, failed: int) -> bool:
    """Whether a run of the suite that ended with ``status`` and had ``failed`` tests may be an accident."""
    return status == _TESTS_FAILED and 0 < failed <= FEW


def main() -> int:
    _FAILED.unlink(missing_ok=True)  # of an earlier run
    status = _pytest("-n", "2")
    failed = list(json.loads(_FAILED.read_text())) if _FAILED.is_file() else []
    if not is_worth_another_run(status, len(failed)):
        return status
    print(f"\n{len(failed)} failed. They run once more, alone.", flush=True)
    status = _pytest("--last-failed")
    if status == 0:
        print("\nThese failed beside other tests, and passed alone. Mend what they wait for:", *failed, sep="\n  ")
    return status


def _pytest(*options: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *options], stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
