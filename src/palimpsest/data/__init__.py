"""Data sets: download, readers of all formats, and preparation of memory-mapped arrays for each task."""
