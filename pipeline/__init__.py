"""One thin entry module per stage; what they do lives in `palimpsest`, how they hang together in `rules/`."""

import gc

gc.set_threshold(100_000, 50, 50)
"""A job's half million objects of imported modules are all still in use: looking through them time and again for
what can be freed costs a tenth of its start."""
