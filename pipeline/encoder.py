"""Download the published weights of an encoder of the library timm.

python -m pipeline.encoder --encoder tf_efficientnet_lite0
"""

import argparse

from palimpsest import stage
from palimpsest.layout import Layout
from palimpsest.networks.published import provide_encoder
from palimpsest.settings import Settings


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Download the weights of the encoder."""
    provide_encoder(options.encoder, layout.encoder_weights(options.encoder))


if __name__ == "__main__":
    stage.run(main, __doc__, "encoder")
