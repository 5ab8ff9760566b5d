"""Benchmarks (`make bench`): ratios of palimpsest's time or memory to a minimal version of the same work."""
