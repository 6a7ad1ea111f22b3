"""The table of ``docs/rollouts.md``: ``python -m benchmarks.live_page`` renders it from the run that is kept.

It comes from ``docs/benchmarks/live_rollouts.json`` and nothing else; a test holds the page to that file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from benchmarks.canaries.live_result import LiveResult, live_section
from benchmarks.reports.report_docs import fill_page
from divisions.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "rollouts.md"
RESULT = ROOT / "docs" / "benchmarks" / "live_rollouts.json"


def filled_page(page: str, result: bytes) -> str:
    """The page with the table of this result.

    Raises:
        InputError: the result cannot be read, or the page has no place for it.
    """
    try:
        found = msgspec.json.decode(result, type=LiveResult)
    except msgspec.MsgspecError as error:
        raise InputError(f"no result of `benchmarks.live_rollouts`: {error}", remedy="run it again") from None
    return fill_page(page, {"live-rollouts": live_section(found)})


def main() -> int:
    try:
        PAGE.write_text(filled_page(PAGE.read_text(encoding="utf-8"), RESULT.read_bytes()), encoding="utf-8")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
