"""Create the MLflow database and the preset's experiment, before the jobs that would race for it.

python -m pipeline.database
"""

import argparse

from palimpsest import job, tracking
from palimpsest.layout import SWEEP, Layout
from palimpsest.settings import Settings


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Create what is missing."""
    tracking.create_database(settings.preset)
    if settings.sweeps:
        tracking.create_database(f"{settings.preset}{SWEEP}")


if __name__ == "__main__":
    job.run(main, __doc__)
