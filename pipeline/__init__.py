"""Entry modules, one per stage; the code is in `palimpsest`, the dependencies are in `rules/`."""

import gc

gc.set_threshold(100_000, 50, 50)
"""Rare collections: scanning the half million objects of imported modules, all in use, takes a tenth of a job's
start."""
