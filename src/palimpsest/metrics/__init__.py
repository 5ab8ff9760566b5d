"""Metrics and perceptual losses as pure functions of arrays and tensors, and descriptions of the metrics."""
