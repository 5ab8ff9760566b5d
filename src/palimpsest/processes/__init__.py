"""Processes of a run: Snakemake, its jobs, and the processes of one training."""
