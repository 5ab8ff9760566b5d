"""MLflow runs: one per training, with its settings, curves, measurements and files."""
