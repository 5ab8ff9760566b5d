"""Copy the weights file of a perceptual network from `data_root`/weights, or download it.

python -m pipeline.weights --network squeezenet
"""

import argparse

from palimpsest import stage
from palimpsest.data.sources import provide_weights
from palimpsest.layout import Layout
from palimpsest.settings import Settings


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Copy or download the weights file of the network."""
    provide_weights(options.network, layout.perceptual_weights(options.network), settings.data_root)


if __name__ == "__main__":
    stage.run(main, __doc__, "network")
