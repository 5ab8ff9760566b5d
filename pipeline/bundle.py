"""Write the bundle of one method: the network once, and every task on it.

python -m pipeline.bundle --seed 0 --method piggyback
"""

import argparse

from palimpsest import stage
from palimpsest.bundling import bundle_study
from palimpsest.layout import Layout
from palimpsest.settings import Settings


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write `bundle.safetensors` into the preset's folder of results, as `palimpsest bundle` does."""
    bundle_study(settings, options.seed, options.method).save(layout.bundle)


if __name__ == "__main__":
    stage.run(main, __doc__, "seed", "method")
