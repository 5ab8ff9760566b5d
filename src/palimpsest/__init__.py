"""One encoder-decoder network that learns one image translation task after another and forgets none."""

__version__ = "0.1.0"
