"""Summary, report page and the tables of README and docs, all written from the files in `results/`."""
