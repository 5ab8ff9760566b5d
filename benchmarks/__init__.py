"""How fast palimpsest is, as ratios to the least that the same work costs on the same machine: `make bench`."""
