"""The picture of photographs that `make readme` writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from palimpsest.bundling import bundle_study
from palimpsest.data.pictures import resize_and_crop
from palimpsest.overlay import overlaid
from palimpsest.report.grid import GAP, LINE, scaled
from pipeline.readme import PHOTOGRAPH_SIDE, PHOTOGRAPHS, write_photographs

Study = Any
SIDE = 160
pytestmark = pytest.mark.slow


def test_each_task_has_a_column_with_its_translations(new_study: Callable[..., Study], tmp_path: Path) -> None:
    study = new_study(sequence=["shapes", "colour"])
    study.store_untrained("piggyback", "colour")
    write_photographs(tmp_path / "grid.png", study.settings)
    grid = np.array(Image.open(tmp_path / "grid.png"))
    step = SIDE + GAP
    assert grid.shape == (LINE + len(PHOTOGRAPHS) * step, 3 * SIDE + 2 * GAP, 3)
    translators = [
        bundle_study(study.settings, 0, "piggyback", [name]).translator(name) for name in ("shapes", "colour")
    ]
    for row, name in enumerate(PHOTOGRAPHS):
        photograph = resize_and_crop(getattr(skimage.data, name)(), PHOTOGRAPH_SIDE, labels=False)
        labels, colours = (translator.image(photograph) for translator in translators)
        overlay = overlaid(photograph, labels, translators[0].classes)
        for column, expected in enumerate([Image.fromarray(photograph), overlay, colours]):
            top, left = LINE + GAP + row * step, column * step
            square = grid[top : top + SIDE, left : left + SIDE]
            assert (square == scaled(expected, SIDE)).all()
