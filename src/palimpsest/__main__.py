"""`python -m palimpsest`, the same as `palimpsest`."""

import sys

from palimpsest.cli import main

if __name__ == "__main__":
    sys.exit(main())
