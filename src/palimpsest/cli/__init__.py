"""Command `palimpsest`; `palimpsest.cli.app` lists the subcommands."""

from palimpsest.cli.app import main

__all__ = ["main"]
