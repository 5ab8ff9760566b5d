"""Composed, textured scenes in two families: the pictures of the generated data sets."""
