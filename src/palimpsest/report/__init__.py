"""Summary, report page, and tables of README and docs, all computed from the files in `results/`."""
