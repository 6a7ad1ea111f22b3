"""``python -m benchmarks.demo``: see `benchmarks.demo.demo`."""

import sys

from benchmarks.demo.demo import main

if __name__ == "__main__":
    sys.exit(main())
