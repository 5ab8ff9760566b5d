"""Make one data set available: generate it, download it, or list the files of a folder.

python -m pipeline.raw --dataset coco
"""

import argparse

from palimpsest import stage
from palimpsest.data.sources import provide
from palimpsest.errors import check_name
from palimpsest.layout import Layout
from palimpsest.settings import Settings


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Provide the data set in its folder, and write its manifest of checksums."""
    dataset = settings.datasets[check_name(options.dataset, settings.datasets, "data set")]
    provide(dataset, layout.manifest(options.dataset).parent, layout.manifest(options.dataset))


if __name__ == "__main__":
    stage.run(main, __doc__, "dataset")
