"""`python -m palimpsest.cli`, the same as `palimpsest`."""

import sys

from palimpsest.cli import main

sys.exit(main())
