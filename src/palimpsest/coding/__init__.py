"""Codes of integers that are mostly zero, close to their entropy: `docs/file-format.md` describes the bytes."""
