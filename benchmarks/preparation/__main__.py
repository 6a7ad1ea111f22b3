"""``python -m benchmarks.preparation``: see `benchmarks.preparation.growth`."""

import sys

from benchmarks.preparation.growth import main

if __name__ == "__main__":
    sys.exit(main())
