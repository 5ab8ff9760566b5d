"""Metrics and perceptual losses: pure functions of arrays and tensors."""
