"""Put the weights file of a perceptual network in its place: from `data_root`/weights, or fetched.

python -m pipeline.weights --network squeezenet
"""

import argparse

from palimpsest import stage
from palimpsest.data.sources import provide_weights
from palimpsest.layout import Layout
from palimpsest.settings import Settings


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Copy or fetch the file."""
    provide_weights(options.network, layout.perceptual_weights(options.network), settings.data_root)


if __name__ == "__main__":
    stage.run(main, __doc__, "network")
