"""Atomic writing of files, and stored tasks with their origin in the header."""
