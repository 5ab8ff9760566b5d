"""Textured scenes of two families, the pictures of the generated data sets."""
