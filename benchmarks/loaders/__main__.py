"""``python -m benchmarks.loaders``."""

import sys

from benchmarks.loaders.run import main

if __name__ == "__main__":
    sys.exit(main())
