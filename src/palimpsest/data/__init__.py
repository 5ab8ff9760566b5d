"""Data sets: download, readers of all formats, and preparation as memory-mapped arrays."""
