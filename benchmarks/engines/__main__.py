"""``python -m benchmarks.engines``: see `benchmarks.engines.comparison`."""

import sys

from benchmarks.engines.comparison import main

if __name__ == "__main__":
    sys.exit(main())
