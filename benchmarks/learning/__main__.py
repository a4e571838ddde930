"""The command."""

import sys

from benchmarks.learning.comparison import main

if __name__ == "__main__":
    sys.exit(main())
