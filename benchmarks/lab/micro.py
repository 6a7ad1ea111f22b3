"""Micro-benchmarks: ``python -m benchmarks.micro --output json``; `benchmarks.lab.micro_suite` has them.

Like gateways, they run the compiled hot path if there is one.
"""

from __future__ import annotations

import sys

from divisions.settings import load_settings
from router.gateway import native


def main() -> int:
    if load_settings().compiled:
        native.activate()
    # Not before: what is imported now is the compiled hot path, if there is one.
    from benchmarks.lab import micro_suite

    return micro_suite.main()


if __name__ == "__main__":
    sys.exit(main())
