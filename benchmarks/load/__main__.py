"""``python -m benchmarks.load``: see `benchmarks.load.load_test`."""

import sys

from benchmarks.load.load_test import main

if __name__ == "__main__":
    sys.exit(main())
