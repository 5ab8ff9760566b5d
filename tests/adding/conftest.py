"""Bundles to which tests add tasks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from palimpsest.bundling import bundle_study
from tests.adding.helpers import FILE, pictures
from tests.conftest import Study


@pytest.fixture
def file(new_study: Callable[..., Study]) -> str:
    """Write a bundle with a masked task and a colorization to the working directory; return its name."""
    study = new_study(network={"width": 4}, training={"steps": 60, "steps_per_epoch": 20, "learning_rate": 0.02})
    for task in ("halves", "colour"):
        study.store_untrained("piggyback", task)
    bundle_study(study.settings, 0, "piggyback").save(Path(FILE))
    return FILE


@pytest.fixture
def style(new_study: Callable[..., Study]) -> str:
    """Write a bundle with a style whose loss has random weights; return its name."""
    pictures("pictures")
    painted = {"kind": "style", "data": "drawn", "picture": "pictures/00.png", "perceptual": "random"}
    study = new_study(
        network={"width": 4}, sequence=["shapes", "painted"], tasks={"painted": painted}, training={"steps": 2}
    )
    study.store_untrained("piggyback", "painted")
    bundle_study(study.settings, 0, "piggyback").save(Path(FILE))
    return FILE
