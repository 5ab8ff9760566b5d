from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palimpsest.errors import DataError
from palimpsest.report.grid import GAP, LINE, titled_columns, write_grid


def sample(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)


def test_inputs_are_left_of_the_outputs(tmp_path: Path) -> None:
    for row in range(2):
        sample(tmp_path / f"floor/samples/a/input-{row}.png", 10 + row)
        sample(tmp_path / f"mask/samples/a/after-a-{row}.png", 20 + row)
        sample(tmp_path / f"mask/samples/b/after-b-{row}.png", 30 + row)
    write_grid(tmp_path / "grid.png", tmp_path, "mask", ["a", "b"], rows=2, side=8)
    grid = np.array(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (2 * 8 + GAP, 3 * 8 + 2 * GAP, 3)
    step = 8 + GAP
    assert grid[::step, ::step, 0].tolist() == [[10, 20, 30], [11, 21, 31]]
    assert (grid[:, 8 : 8 + GAP] == 255).all()


def test_the_error_for_a_missing_sample_has_the_command_that_makes_it(tmp_path: Path) -> None:
    command = r"`snakemake --cores all results/mini/e/floor/samples --config preset=mini`$"
    with pytest.raises(DataError, match=rf"input-0\.png: sample is missing or damaged .*{command}"):
        write_grid(tmp_path / "grid.png", Path("results/mini/e"), "mask", ["a"], rows=1, side=8)


def test_columns_have_titles_above() -> None:
    pictures = [np.full((2, 8, 8, 3), value, np.uint8) for value in (10, 20)]
    grid = titled_columns(list(zip(["photograph", "blend 0.5"], pictures, strict=True)), side=16)
    assert grid.shape == (LINE + 2 * (GAP + 16), 2 * 16 + GAP, 3)
    assert (grid[LINE + GAP :, :16][:16] == 10).all() and (grid[-16:, 16 + GAP :] == 20).all()
    lines = grid[:LINE, :16], grid[:LINE, 16 + GAP :]
    assert all(line.min() < 100 and line.max() == 255 for line in lines)
    assert (lines[0] != lines[1]).any()
